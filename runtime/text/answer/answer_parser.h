// AnswerParser: the tokens of a model's answer to what is said, what is thought and which tools are called, as it becomes
// certain. Marks never show; a text that only looks like one is given as it is, and so is a call that is malformed, as content.
// Deltas joined are the same however the text is cut into tokens. What is held back is bounded: 1 MiB where a call must be
// whole to be read, else 1 KiB. One per answer; not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "runtime/text/answer/answer_format.h"
#include "runtime/text/answer/answer_sink.h"
#include "runtime/text/answer/harmony_reader.h"
#include "runtime/text/answer/tagged_reader.h"
#include "runtime/text/answer/tool_set.h"
#include "runtime/text/detokenizer.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::text {

struct AnswerOptions {
  // As ToolSet takes them. Null: calls are not looked for, and what looks like one is content.
  nlohmann::ordered_json tools = nullptr;
  bool in_thought = false;  // EndsInThought of the prompt
  // Ids of calls follow from it; conversations with several answers want different ones.
  uint64_t seed = 0;
};

class AnswerParser {
 public:
  // Errors: as ToolSet.
  AnswerParser(const Tokenizer& tokenizer, const AnswerFormat& format, const AnswerOptions& options);
  ~AnswerParser();
  AnswerParser(const AnswerParser&) = delete;
  AnswerParser& operator=(const AnswerParser&) = delete;

  // Tokens that the answer was made to begin with (ForcedCall) go through here as those that the model chose. A token that
  // ends the generation may be pushed or not.
  std::vector<AnswerDelta> Push(int32_t id);
  // The end of the answer: the rest. A call that is not whole is content, or stays as far as its arguments were given.
  // Nothing may be pushed after it.
  std::vector<AnswerDelta> Flush();

  // Of all deltas so far: {"role": "assistant", "content", and "reasoning_content" and "tool_calls" where there are some}, as
  // OpenAI's API gives it and NormalizeMessages takes it. content is null where there are only calls.
  nlohmann::ordered_json Message() const { return sink_.Message(); }
  size_t num_calls() const { return sink_.calls(); }

 private:
  const Tokenizer tokenizer_;
  const AnswerFormat format_;
  const ToolSet tools_;
  Detokenizer detokenizer_;
  AnswerSink sink_;
  std::unordered_map<int32_t, std::string> control_;  // marks that are control tokens
  std::variant<std::monostate, TaggedReader, HarmonyReader> reader_;
};

}  // namespace onecopy::text
