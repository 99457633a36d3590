// A sequence as the scheduler keeps it, and a step as it is put together. Only for scheduler.cc and scheduler_prefill.cc.
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

// rows: what the step's logits are for, in their order.
struct Scheduler::Batch {
  proto::Step step;
  std::vector<Row> rows;
  std::vector<Sequence*> decoded, read;  // whose tokens and whose prompts are in it

  uint32_t tokens() const { return static_cast<uint32_t>(step.tokens_size()); }
  void Add(const Sequence& sequence, uint32_t position) {
    step.add_tokens(sequence.tokens[position]);
    step.add_slots(sequence.slot);
    step.add_positions(position);
  }
  // Of the token that was added last. prompt_token: as in Row.
  void AddRow(Sequence& sequence, uint32_t prompt_token) {
    step.add_logit_rows(tokens() - 1);
    rows.push_back({&sequence, prompt_token});
  }
};

}  // namespace onecopy::serve
