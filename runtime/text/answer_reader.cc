#include "runtime/text/answer_reader.h"

namespace onecopy::text {

AnswerReader::AnswerReader(const Tokenizer& tokenizer) : tokenizer_(tokenizer), detokenizer_(tokenizer, {}) {
  const int32_t start = tokenizer.Find("<|start|>"), channel = tokenizer.Find("<|channel|>"),
                message = tokenizer.Find("<|message|>");
  if (start < 0 || channel < 0 || message < 0) return;
  start_ = start, channel_ = channel, message_ = message;
  place_ = Place::kHeader;  // the prompt ends with "<|start|>assistant"
}

AnswerReader::Piece AnswerReader::Keep(std::string text) {
  (thought_ ? thinking_ : said_) += text;
  return {std::move(text), thought_};
}

AnswerReader::Piece AnswerReader::Push(int32_t id) {
  if (start_ < 0) return Keep(detokenizer_.Push(id));
  if (place_ == Place::kContent) {
    if (!tokenizer_.is_special(id)) return Keep(detokenizer_.Push(id));
    // The end of a message, or the start of one whose end is missing.
    Piece rest = Keep(detokenizer_.Flush());
    place_ = Place::kHeader;
    in_channel_ = false;
    channel_name_.clear();
    if (id != channel_) return rest;
    in_channel_ = true;
    return rest;
  }
  if (id == message_) {
    // "final", or none; "commentary to=functions.f" is a call of a tool, "analysis" a thought.
    thought_ = !channel_name_.empty() && !channel_name_.starts_with("final");
    if (thought_ && !thinking_.empty()) thinking_ += '\n';
    place_ = Place::kContent;
  } else if (tokenizer_.is_special(id)) {
    in_channel_ = id == channel_;
    channel_name_.clear();
  } else if (in_channel_) {
    channel_name_ += tokenizer_.Piece(id);
  }
  return {};
}

AnswerReader::Piece AnswerReader::Flush() {
  return Keep(detokenizer_.Flush());
}

nlohmann::ordered_json AnswerReader::Message() const {
  nlohmann::ordered_json message;
  message["role"] = "assistant";
  message["content"] = said_;
  if (!thinking_.empty()) message["thinking"] = thinking_;
  return message;
}

}  // namespace onecopy::text
