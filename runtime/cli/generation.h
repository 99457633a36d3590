// Generation: continues one sequence, token by token, with or without guessed tokens that a step verifies beside its own.
// Both give the same tokens: the sampler sees the same logits (kernels.h: a token's results do not depend on those beside
// it) in the same order, and a guess stands only where the sampler chooses it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/cli/draft_length.h"
#include "runtime/exec/engine.h"
#include "runtime/text/prompt_lookup.h"
#include "runtime/text/sampler.h"

namespace onecopy::cli {

struct GenerationTimes {
  double prompt_seconds = 0, decode_seconds = 0;
  uint64_t steps = 0;     // after the prompt's
  uint64_t drafted = 0;   // guessed tokens that steps verified
  uint64_t accepted = 0;  // of which were right
};

class Generation {
 public:
  // Both outlive it. draft_length: DraftLength::Always(0) for none.
  Generation(exec::Engine& engine, text::Sampler& sampler, const DraftLength& draft_length)
      : engine_(engine), sampler_(sampler), draft_length_(draft_length) {}

  // Rank 0: continues `prompt` (at least one token) in slot 0 by at most n tokens. accept: called with each; false ends.
  // in_cache: first tokens of the prompt, not all, that slot 0 holds from a run before; afterwards it holds the prompt and
  // the new tokens but for the last one.
  // Errors: kBadInput where no token can be chosen; as exec::Engine::Forward.
  GenerationTimes Run(std::span<const int32_t> prompt, size_t n, const std::function<bool(int32_t)>& accept,
                      size_t in_cache = 0);

 private:
  int32_t Choose(std::span<const float> logits) const;
  // Runs the step that follows history_, with at most `most` guesses into draft_.
  std::span<const float> Step(size_t most);
  // What became of the last step's guesses, now that history_ goes beyond them.
  void Settle();

  exec::Engine& engine_;
  text::Sampler& sampler_;
  DraftLength draft_length_;
  text::PromptLookup lookup_;
  std::vector<int32_t> history_;
  std::vector<int32_t> guess_,
      draft_;         // what may follow the last step's token; as much of it as that step verified
  size_t right_ = 0;  // of draft_
  GenerationTimes times_;
};

}  // namespace onecopy::cli
