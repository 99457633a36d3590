// ForcedCall: what an answer must begin with so that it calls a tool (tool_choice "required", or a function by name). The
// server appends `prefix` to the prompt and gives its tokens to the answer's parser first, so that the call is read as if the
// model had begun it. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/answer/answer_format.h"
#include "runtime/text/answer/tool_set.h"

namespace onecopy::text {

struct ForcedCall {
  struct Choice {
    std::string function;
    std::string text;  // the rest of the name and what stands before the arguments
  };
  // Encoded as a template's text is, with special tokens parsed (EncodeChat).
  std::string prefix;
  // One of these must follow, which a grammar can see to; empty where only one function may be called, and prefix names it.
  std::vector<Choice> choices;
  // The arguments that follow are a JSON object, which may be held to the function's schema, and then comes `end`. Else they are
  // parameters between tags, and only the function is certain.
  bool json_arguments = false;
  std::string end;
};

// function: the one to call; empty: any of the tools. in_thought: the prompt ends inside of a thought, which is closed first.
// None where the format has no calls. Errors: kUsage where there are no tools, or none of this name.
std::optional<ForcedCall> ForceCall(const AnswerFormat& format, const ToolSet& tools,
                                    std::string_view function, bool in_thought);

}  // namespace onecopy::text
