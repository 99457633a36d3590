// Answer: what a request's choices say, put into the format of one API. Choice: one of them, from tokens to text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/serve/api_error.h"
#include "runtime/serve/http.h"
#include "runtime/serve/sequence.h"
#include "runtime/text/answer/answer_parser.h"
#include "runtime/text/stop_strings.h"

namespace onecopy::serve {

// A token that was chosen, and what else might have been.
struct TokenChoice {
  int32_t token;
  Logprobs logprobs;
};

struct Delta {
  std::string content, reasoning;  // whole characters; at most one of these three is not empty
  std::vector<text::AnswerDelta> calls;
  std::vector<TokenChoice> tokens;  // where log-probabilities were asked for: those up to here
};

// Called on the engine's thread only.
class Answer {
 public:
  virtual ~Answer() = default;
  virtual void OnDelta(size_t choice, const Delta& delta) = 0;
  // As TokenSink::OnPromptLogprobs.
  virtual void OnPromptLogprobs(size_t, const Logprobs&) {}
  // matched_stop: the stop string that ended it; empty: none.
  virtual void OnChoiceEnd(size_t choice, const Finish& finish, const std::string& matched_stop) = 0;
  virtual bool gone() const = 0;
};

struct ChoiceOptions {
  std::vector<std::string> stop;
  // Of a chat: thoughts and calls of tools are told from what is said. None: the text as it stands.
  std::optional<text::AnswerFormat> format;
  text::AnswerOptions answer;
  // The prompt's last tokens, which are the beginning of the answer; tool_choice.
  std::vector<int32_t> forced;
  bool include_special = false;  // control tokens are part of the text
  bool end_token = false;        // the one that ends it is among those whose log-probabilities are told
};

class Choice : public TokenSink {
 public:
  Choice(std::shared_ptr<Answer> answer, size_t index, const text::Tokenizer& tokenizer,
         const ChoiceOptions& options);

  bool OnToken(int32_t token, const Logprobs* logprobs) override;
  void OnPromptLogprobs(const Logprobs& logprobs) override { answer_->OnPromptLogprobs(index_, logprobs); }
  void OnEndToken(int32_t token, const Logprobs& logprobs) override;
  void OnFinish(const Finish& finish) override;
  bool cancelled() const override { return answer_->gone(); }

 private:
  void ShowForced();
  void Show(const std::vector<text::AnswerDelta>& deltas);
  void Say(Delta delta);

  const std::shared_ptr<Answer> answer_;
  const size_t index_;
  std::optional<text::AnswerParser> parser_;  // of a chat
  text::Detokenizer detokenizer_;             // of another text
  std::vector<int32_t> forced_;               // not shown yet
  text::StopMatcher stop_;
  const bool end_token_;
  std::vector<TokenChoice> tokens_;  // not said yet
};

}  // namespace onecopy::serve
