// CallSyntax: one family's way to write tool calls, as marks and as functions on the text read so far. The reader
// (tagged_reader.h) runs them after every byte, so what they find does not depend on how the text is cut. Pure.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/answer/answer_format.h"
#include "runtime/text/answer/tool_set.h"

namespace onecopy::text {

struct SyntaxContext {
  const ToolSet& tools;
  bool verbatim_values;
};

struct ParsedCall {
  std::string name;
  std::string id;         // as the model wrote it; empty: it did not
  std::string arguments;  // the text of a JSON object
};

// What stands between calls and after the last.
struct CallTail {
  enum class State {
    kMore,
    kNext,    // another call begins; the last `keep` bytes are its own
    kEnd,     // the last call has ended
    kForeign  // something else: what was read is not part of the calls
  } state;
  size_t keep = 0;
};
using TailFunction = CallTail (*)(std::string_view text);

// The beginning of a call, up to its arguments.
struct CallHead {
  enum class State {
    kMore,
    kBad,
    kArguments,  // the last byte opens an object that is the arguments
    kObject,     // the object that begins at `offset` must be whole before the call can be read (ReadObject)
    kPython,     // a list of Python calls begins at `offset`
    kBody,       // the call is written otherwise, up to `body_end`
  } state = State::kBad;
  std::string name = {}, id = {};
  // Of the byte that opens the outermost bracket which the arguments stand in: the last byte, or that of an object around.
  size_t offset = 0;
  TailFunction tail = nullptr;  // nullptr: nothing follows a call
};

struct CallSyntax {
  CallSyntaxKind kind;
  std::span<const std::string_view> begins;  // any of these begins calls
  bool bare = false;                         // so does '{' or '[' as the first byte of the answer
  // text: from the mark on (or, after kNext, from the byte after the last call's tail).
  CallHead (*head)(const SyntaxContext& context, std::string_view text);
  // kBody only. text: from the head on, up to an occurrence of body_end. None: malformed, or, with *more, that occurrence
  // stands inside of a value.
  std::string_view body_end = {};
  std::optional<ParsedCall> (*body)(const SyntaxContext& context, std::string_view text,
                                    bool* more) = nullptr;
  // Marks that stand elsewhere in a call; vocabularies have them as control tokens.
  std::span<const std::string_view> inner = {};
};

// nullptr for kNone and kHarmony.
const CallSyntax* FindCallSyntax(CallSyntaxKind kind);

// {"name": "f", "arguments": {…}} as far as it has come; text begins with the brace. kArguments, kObject (offset 0), kMore
// or kBad. Names of the arguments: "arguments" or "parameters".
CallHead ReadObjectHead(std::string_view text);
// The call that a whole object is; none where it is no call.
std::optional<ParsedCall> ReadObject(std::string_view text);

// Tools to read text with, shared by the syntaxes.
std::string_view SkipSpace(std::string_view text);
// Removes `part` from the beginning of *text. kMore: the text is only a part of it.
enum class Match { kYes, kNo, kMore };
Match TakePart(std::string_view* text, std::string_view part);

// Rows of the table, by file: json_calls.cc, marked_calls.cc, xml_calls.cc.
extern const CallSyntax kHermesCalls, kGraniteCalls, kMistralCalls, kLlamaCalls;
extern const CallSyntax kDeepSeekCalls, kKimiCalls;
extern const CallSyntax kQwenXmlCalls, kSeedXmlCalls, kDsmlCalls, kMiniMaxCalls, kGlmCalls;

}  // namespace onecopy::text
