#include "runtime/cli/generation.h"

#include <algorithm>
#include <chrono>

#include "runtime/base/error.h"

namespace onecopy::cli {
namespace {

static_assert(1 + DraftLength::kMost < comm::kLeastBf16Rows);

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

GenerationTimes Generation::Run(std::span<const int32_t> prompt, size_t n,
                                const std::function<bool(int32_t)>& accept, size_t in_cache) {
  history_.assign(prompt.begin(), prompt.end());
  if (draft_length_.drafts()) lookup_.Push(prompt);
  const size_t vocab = engine_.spec().vocab_size();
  const auto start = Clock::now();
  std::span<const float> logits =
      engine_.Append(0, static_cast<uint32_t>(in_cache), prompt.subspan(in_cache));
  times_.prompt_seconds = Since(start);
  const auto decode_start = Clock::now();
  for (size_t left = n; left > 0;) {
    // Row i of the logits follows the first i guesses, and so far all of those were right.
    const int32_t token = Choose(logits.subspan(right_ * vocab, vocab));
    const bool goes_on = accept(token);
    history_.push_back(token);
    if (draft_length_.drafts()) lookup_.Push(token);
    const bool guessed = right_ < draft_.size() && draft_[right_] == token;
    right_ += guessed;
    if (!goes_on || --left == 0) break;
    if (guessed) continue;  // its logits are there already
    Settle();
    logits = Step(left - 1);
  }
  Settle();
  times_.decode_seconds = Since(decode_start);
  return times_;
}

int32_t Generation::Choose(std::span<const float> logits) const {
  const text::SampleResult sample = sampler_.Sample(logits, history_);
  if (sample.status != text::SampleStatus::kOk)
    Fail(ErrorCode::kBadInput,
         "no token can be chosen after {} tokens: {}; the model's weights may be damaged", history_.size(),
         text::Describe(sample.status));
  return sample.token;
}

std::span<const float> Generation::Step(size_t most) {
  const size_t wanted = std::min<size_t>(most, draft_length_.Next());
  // A guess that the step leaves out is still held against the token to come. Without any look-up there is none.
  guess_ = lookup_.Draft(std::max<size_t>(wanted, 1));
  draft_.assign(guess_.begin(), guess_.begin() + static_cast<ptrdiff_t>(std::min(wanted, guess_.size())));
  proto::Step step;
  const auto add = [&](int32_t token, size_t position) {
    step.add_logit_rows(static_cast<uint32_t>(step.tokens_size()));
    step.add_tokens(token);
    step.add_slots(0);
    step.add_positions(static_cast<uint32_t>(position));
  };
  // Keys and values of wrong guesses stay in the cache until the next step, which begins before them, overwrites them.
  add(history_.back(), history_.size() - 1);
  for (size_t i = 0; i < draft_.size(); ++i) add(draft_[i], history_.size() + i);
  const auto start = Clock::now();
  const std::span<const float> logits = engine_.Forward(step);
  draft_length_.ObserveStep(static_cast<uint32_t>(draft_.size()), Since(start));
  ++times_.steps;
  times_.drafted += draft_.size();
  return logits;
}

void Generation::Settle() {
  if (!draft_.empty()) {
    draft_length_.ObserveGuess(static_cast<uint32_t>(std::min(right_ + 1, draft_.size())),
                               static_cast<uint32_t>(right_));
    times_.accepted += right_;
  } else if (!guess_.empty()) {
    draft_length_.ObserveGuess(1, history_.back() == guess_[0]);
  }
  draft_.clear();
  guess_.clear();
  right_ = 0;
}

}  // namespace onecopy::cli
