#include "runtime/serve/answer.h"

namespace onecopy::serve {

Choice::Choice(std::shared_ptr<Answer> answer, size_t index, const text::Tokenizer& tokenizer,
               const ChoiceOptions& options)
    : answer_(std::move(answer)),
      index_(index),
      detokenizer_(tokenizer, {.skip_special = !options.include_special, .at_text_start = false}),
      forced_(options.forced),
      stop_(options.stop),
      end_token_(options.end_token) {
  if (!options.format) return;
  text::AnswerOptions answer_options = options.answer;
  answer_options.seed += index;
  parser_.emplace(tokenizer, *options.format, answer_options);
}

void Choice::ShowForced() {
  for (const int32_t token : forced_) Show(parser_->Push(token));
  forced_.clear();
}

bool Choice::OnToken(int32_t token, const Logprobs* logprobs) {
  if (logprobs != nullptr) tokens_.push_back({token, *logprobs});
  if (parser_) {
    ShowForced();
    Show(parser_->Push(token));
  } else {
    Say({.content = stop_.Push(detokenizer_.Push(token))});
  }
  return !stop_.stopped();
}

void Choice::OnEndToken(int32_t token, const Logprobs& logprobs) {
  if (end_token_) tokens_.push_back({token, logprobs});
}

void Choice::OnFinish(const Finish& finish) {
  if (!stop_.stopped() && finish.reason != FinishReason::kCancelled) {
    if (parser_) {
      Show(parser_->Flush());
    } else {
      Say({.content = stop_.Push(detokenizer_.Flush())});
    }
    Say({.content = stop_.Flush()});
  }
  if (!tokens_.empty()) answer_->OnDelta(index_, {.tokens = std::exchange(tokens_, {})});  // without text
  answer_->OnChoiceEnd(index_, finish, stop_.matched());
}

// Stop strings are looked for in what is said.
void Choice::Show(const std::vector<text::AnswerDelta>& deltas) {
  for (const text::AnswerDelta& delta : deltas) {
    if (stop_.stopped()) return;
    switch (delta.kind) {
      case text::AnswerDelta::Kind::kContent:
        Say({.content = stop_.Push(delta.text)});
        break;
      case text::AnswerDelta::Kind::kReasoning:
        Say({.reasoning = delta.text});
        break;
      case text::AnswerDelta::Kind::kCallBegin:
        Say({.content = stop_.Flush()});  // none goes on behind a call
        [[fallthrough]];
      case text::AnswerDelta::Kind::kCallArguments:
        Say({.calls = {delta}});
        break;
    }
  }
}

void Choice::Say(Delta delta) {
  // Log-probabilities wait for the text that they belong to.
  const bool nothing = delta.content.empty() && delta.reasoning.empty() && delta.calls.empty();
  if (nothing && (tokens_.empty() || !stop_.stopped())) return;
  delta.tokens = std::move(tokens_);
  tokens_.clear();
  answer_->OnDelta(index_, delta);
}

}  // namespace onecopy::serve
