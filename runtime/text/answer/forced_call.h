// ForcedCall: what an answer must begin with so that it calls a tool (tool_choice "required", or a function by name). The
// server appends `prefix` to the prompt and gives its tokens to the answer's parser first, so that the call is read as if the
// model had begun it. Pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/answer/answer_format.h"
#include "runtime/text/answer/tool_set.h"

namespace onecopy::text {

struct ForcedCall {
  // Encoded as a template's text is, with special tokens parsed (EncodeChat).
  std::string prefix;

  // What must follow so that the call is sound; at most one of these is there. The answer may end after it: marks that end a
  // call are control tokens in many vocabularies, which grammars leave out, and the parser does not need them.
  std::optional<nlohmann::ordered_json> schema;  // a JSON document of this schema
  std::string grammar;                           // a text of this GBNF
  // One of these names, and then what the model was trained to write after it: control tokens, and arguments as JSON. Where a
  // grammar cannot say so, the model is left to it.
  std::vector<std::string> functions;
};

// function: the one to call; empty: any of the tools. in_thought: the prompt ends inside of a thought, which is closed first.
// None where the format has no calls. Errors: kUsage where there are no tools, or none of this name.
std::optional<ForcedCall> ForceCall(const AnswerFormat& format, const ToolSet& tools,
                                    std::string_view function, bool in_thought);

}  // namespace onecopy::text
