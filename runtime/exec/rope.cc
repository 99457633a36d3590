#include "runtime/exec/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace onecopy::exec {
namespace {

using proto::RopeScaling;

// The share of its own angle that dimension `i` of `half` keeps under YaRN (arXiv 2309.00071, section 3.2): 1 where it
// turns at least beta_fast times over the original context, 0 where less than beta_slow times, and a line in between.
double KeptByYarn(const RopeScaling& scaling, double theta, size_t half, size_t i) {
  const double dims = 2.0 * static_cast<double>(half);
  const auto dimension_of = [&](double rotations) {
    return dims * std::log(scaling.original_context_length() / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(theta));
  };
  double low = dimension_of(scaling.beta_fast()), high = dimension_of(scaling.beta_slow());
  if (scaling.truncate()) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high) high += 0.001;  // as transformers has it: a step, not a division by zero
  return 1 - std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

}  // namespace

std::vector<float> RopeFrequencies(const proto::ModelSpec& spec) {
  const size_t half = spec.rope_dims() / 2;
  const RopeScaling& scaling = spec.rope_scaling();
  std::vector<float> frequencies(half);
  for (size_t i = 0; i < half; ++i) {
    double frequency =
        std::pow(static_cast<double>(spec.rope_theta()), -static_cast<double>(i) / static_cast<double>(half));
    if (scaling.kind() == RopeScaling::YARN) {
      const double kept = KeptByYarn(scaling, spec.rope_theta(), half, i);
      frequency *= kept + (1 - kept) / scaling.factor();
    }
    frequencies[i] = static_cast<float>(frequency);
  }
  return frequencies;
}

void RopeAngles(const proto::ModelSpec& spec, std::span<const float> frequencies, uint32_t position,
                float* cos_sin) {
  const float factor =
      spec.rope_scaling().attention_factor() == 0 ? 1.0f : spec.rope_scaling().attention_factor();
  for (const float frequency : frequencies) {
    const float angle = static_cast<float>(position) * frequency;
    *cos_sin++ = std::cos(angle) * factor;
    *cos_sin++ = std::sin(angle) * factor;
  }
}

float SoftmaxScale(const proto::ModelSpec& spec) {
  const float factor =
      spec.rope_scaling().softmax_factor() == 0 ? 1.0f : spec.rope_scaling().softmax_factor();
  return factor / std::sqrt(static_cast<float>(spec.head_dim()));
}

}  // namespace onecopy::exec
