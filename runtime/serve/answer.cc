#include "runtime/serve/answer.h"

namespace onecopy::serve {

Choice::Choice(std::shared_ptr<Answer> answer, size_t index, const text::Tokenizer& tokenizer,
               const ChoiceOptions& options)
    : answer_(std::move(answer)),
      index_(index),
      detokenizer_(tokenizer, {.skip_special = !options.include_special, .at_text_start = false}),
      stop_(options.stop) {
  if (options.is_chat) reader_.emplace(tokenizer);
}

bool Choice::OnToken(int32_t token, const Logprobs* logprobs) {
  if (logprobs != nullptr) tokens_.push_back({token, *logprobs});
  std::string text, thought;
  if (reader_) {
    text::AnswerReader::Piece piece = reader_->Push(token);
    (piece.thought ? thought : text) = std::move(piece.text);
  } else {
    text = detokenizer_.Push(token);
  }
  Say(stop_.Push(text), std::move(thought));
  return !stop_.stopped();
}

void Choice::OnFinish(const Finish& finish) {
  if (!stop_.stopped() && finish.reason != FinishReason::kCancelled) {
    std::string text, thought;
    if (reader_) {
      text::AnswerReader::Piece piece = reader_->Flush();
      (piece.thought ? thought : text) = std::move(piece.text);
    } else {
      text = detokenizer_.Flush();
    }
    text = stop_.Push(text);
    text += stop_.Flush();
    Say(std::move(text), std::move(thought));
  }
  answer_->OnChoiceEnd(index_, finish, stop_.matched());
}

void Choice::Say(std::string content, std::string reasoning) {
  if (content.empty() && reasoning.empty() && tokens_.empty()) return;
  // Log-probabilities wait for the text that they belong to.
  if (content.empty() && reasoning.empty() && !stop_.stopped()) return;
  answer_->OnDelta(index_, {std::move(content), std::move(reasoning), std::move(tokens_)});
  tokens_.clear();
}

}  // namespace onecopy::serve
