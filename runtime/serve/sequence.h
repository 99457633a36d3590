// A sequence to generate as the scheduler sees it, and what it tells whoever asked for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/text/sampler.h"

namespace onecopy::serve {

using Clock = std::chrono::steady_clock;

// Natural logarithms of probabilities under the model's own distribution: before bias, penalties and temperature.
struct TokenLogprob {
  int32_t token;
  float logprob;
};
struct Logprobs {
  float logprob;                  // of the token that was chosen
  std::vector<TokenLogprob> top;  // the most likely ones, best first
};

enum class FinishReason {
  kStop,       // the model ended it, or the sink did
  kLength,     // max_tokens, or the end of the model's context
  kCancelled,  // whoever asked has gone
  kDeadline,   // it took too long
  kFailed,     // `error` says what
};

struct Finish {
  FinishReason reason = FinishReason::kStop;
  std::string error;           // a sentence, of kFailed
  uint32_t prompt_tokens = 0;  // of which
  uint32_t cached_tokens = 0;  // were not computed again
  uint32_t generated_tokens = 0;
};

// Where a sequence's tokens go. Called on the engine's thread, from one sequence at a time: quick, and without exceptions.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // logprobs: null unless asked for. False: the sequence ends here, as after a stop string.
  virtual bool OnToken(int32_t token, const Logprobs* logprobs) = 0;
  // Where the prompt's were asked for: of its second token, then of its third, …, before any OnToken.
  virtual void OnPromptLogprobs(const Logprobs&) {}
  // The token that ended the sequence, and is no part of what it says; where log-probabilities were asked for.
  virtual void OnEndToken(int32_t, const Logprobs&) {}
  // The last call.
  virtual void OnFinish(const Finish& finish) = 0;
  // Whether whoever asked has gone. From any thread.
  virtual bool cancelled() const = 0;
};

// Which tokens may come next, for output that has to follow a grammar. Used on the engine's threads, by one at a time.
class TokenFilter {
 public:
  virtual ~TokenFilter() = default;
  // A bit for each token of the vocabulary, lowest first; ids behind the last word are not allowed. Valid until the next call.
  virtual std::span<const uint64_t> Allowed() = 0;
  virtual void Accept(int32_t token) = 0;
  // Whether the text may end here.
  virtual bool complete() const = 0;
};

struct SequenceRequest {
  std::vector<int32_t> prompt;  // at least one token, ids of the model's vocabulary
  uint32_t max_tokens = 0;      // new ones; 0: the prompt is read, and that is all
  text::SamplerOptions sampling;
  bool ignore_eos = false;
  int top_logprobs = -1;         // how many alternatives; -1: no log-probabilities at all
  bool prompt_logprobs = false;  // those of the prompt's tokens, too; its beginning is then never another's
  std::shared_ptr<TokenSink> sink;
  std::unique_ptr<TokenFilter> filter;  // null: every token may come
  std::optional<Clock::time_point> deadline;
};

}  // namespace onecopy::serve
