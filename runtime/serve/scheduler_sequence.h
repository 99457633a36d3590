// A sequence as the scheduler keeps it. Only for scheduler.cc and scheduler_prefill.cc.
#pragma once

#include "runtime/serve/scheduler.h"

namespace onecopy::serve {

inline double Seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

struct Scheduler::Sequence {
  Sequence(SequenceRequest r, Clock::time_point now)
      : request(std::move(r)),
        tokens(request.prompt),
        n_prompt(static_cast<uint32_t>(tokens.size())),
        added(now),
        last_token(now) {}

  uint32_t length() const { return static_cast<uint32_t>(tokens.size()); }
  bool reads() const { return computed < n_prompt; }
  uint32_t generated() const { return length() - n_prompt; }
  bool scores() const { return request.prompt_logprobs; }

  SequenceRequest request;
  std::optional<text::Sampler> sampler;  // from its first turn on: it is as large as the vocabulary
  std::vector<int32_t> tokens;           // of the prompt and after it
  const uint32_t n_prompt;
  uint32_t computed = 0;  // tokens whose keys and values are in the cache
  uint32_t cached = 0;    // of which came from another's
  uint32_t scored = 0;    // the last token of the prompt whose log-probability was told
  uint32_t slot = 0;      // while it runs
  bool ended = false;
  uint64_t last_turn = 0;
  const Clock::time_point added;
  Clock::time_point last_token;
};

}  // namespace onecopy::serve
