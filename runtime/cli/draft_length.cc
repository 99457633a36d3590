#include "runtime/cli/draft_length.h"

#include <algorithm>

namespace onecopy::cli {
namespace {

constexpr double kNewest = 0.2;  // weight of a new time in the mean
constexpr double kKept = 0.95;   // of the past with each further guess: some twenty count
// A growth that was measured in a bad moment would forbid guesses for ever: without any, it shrinks until one is tried.
constexpr double kForgotten = 0.995;
constexpr double kLeastGain = 1.05;  // below, noise decides

void Blend(double* mean, double value) {
  *mean += kNewest * (value - *mean);
}

}  // namespace

uint32_t DraftLength::Next() const {
  if (!as_pays_) return n_;
  if (step_seconds_ == 0) return 0;  // first the time of a step without
  const double p = right_ / tried_;
  double best_gain = kLeastGain, tokens = 1, all_right = 1;
  uint32_t best = 0;
  for (uint32_t k = 1; k <= n_; ++k) {
    all_right *= p;
    tokens += all_right;
    const double gain = tokens / (1 + growth_ * k);
    if (gain > best_gain) {
      best_gain = gain;
      best = k;
    }
  }
  return best;
}

void DraftLength::ObserveStep(uint32_t drafted, double seconds) {
  if (drafted == 0) {
    if (step_seconds_ == 0) step_seconds_ = seconds;
    Blend(&step_seconds_, seconds);
    growth_ *= kForgotten;
    return;
  }
  if (step_seconds_ == 0) return;
  const double growth = std::max(0.0, (seconds / step_seconds_ - 1) / drafted);
  if (!growth_measured_) growth_ = growth;
  growth_measured_ = true;
  Blend(&growth_, growth);
}

void DraftLength::ObserveGuess(uint32_t tried, uint32_t right) {
  for (uint32_t i = 0; i < tried; ++i) {
    tried_ = tried_ * kKept + 1;
    right_ = right_ * kKept + (i < right ? 1 : 0);
  }
}

}  // namespace onecopy::cli
