#include "runtime/serve/logprobs.h"

#include <algorithm>
#include <cmath>

namespace onecopy::serve {

Logprobs LogprobsOf(std::span<const float> logits, int32_t token, int n_top) {
  const float max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  const double log_sum = max + std::log(sum);
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(logits[static_cast<size_t>(id)] - log_sum);
  };
  Logprobs result = {logprob(token), {}};
  if (n_top <= 0) return result;
  // Few of many: most are no better than the last of the best so far.
  const size_t n = std::min(static_cast<size_t>(n_top), logits.size());
  std::vector<int32_t> best;
  const auto at = [&](int32_t id) { return logits[static_cast<size_t>(id)]; };
  for (int32_t id = 0; id < static_cast<int32_t>(logits.size()); ++id) {
    if (best.size() == n && at(id) <= at(best.back())) continue;
    if (best.size() == n) best.pop_back();
    best.insert(
        std::upper_bound(best.begin(), best.end(), id, [&](int32_t a, int32_t b) { return at(a) > at(b); }),
        id);
  }
  for (const int32_t id : best) result.top.push_back({id, logprob(id)});
  return result;
}

}  // namespace onecopy::serve
