// AnswerReader: the tokens of a model's answer to what is said and, for models of the harmony format (gpt-oss), what is only
// thought: those answer in several messages, each with a channel of which "final" is meant for the user. Other models' text
// stands as it is, thoughts between their own marks included, for their templates take those out again. One per answer; not
// thread-safe. Source: openai/harmony, docs/format.md.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/text/detokenizer.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::text {

class AnswerReader {
 public:
  struct Piece {
    std::string text;  // whole characters, maybe none
    bool thought = false;
  };

  explicit AnswerReader(const Tokenizer& tokenizer);

  Piece Push(int32_t id);
  // The end of the answer: the rest of a character, as U+FFFD.
  Piece Flush();

  // What it was, for the conversation: {"role": "assistant", "content", and "thinking" where something was thought}.
  nlohmann::ordered_json Message() const;

 private:
  enum class Place { kHeader, kContent };
  Piece Keep(std::string text);

  const Tokenizer tokenizer_;
  Detokenizer detokenizer_;
  // Ids of harmony's marks; start_ is -1 with other formats.
  int32_t start_ = -1, channel_ = -1, message_ = -1;
  Place place_ = Place::kContent;
  bool in_channel_ = false, thought_ = false;
  std::string channel_name_;
  std::string said_, thinking_;
};

}  // namespace onecopy::text
