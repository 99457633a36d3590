#include "runtime/exec/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/base/check.h"

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

// The same of a frequency under Llama 3.1's scaling.
double KeptByLlama3(const RopeScaling& scaling, double frequency) {
  const double turns = scaling.original_context_length() * frequency / (2 * std::numbers::pi);
  if (scaling.high_freq_factor() == scaling.low_freq_factor())
    return turns < scaling.low_freq_factor() ? 0 : 1;
  return std::clamp(
      (turns - scaling.low_freq_factor()) / (double{scaling.high_freq_factor()} - scaling.low_freq_factor()),
      0.0, 1.0);
}

double Kept(const proto::ModelSpec& spec, double frequency, size_t i) {
  const RopeScaling& scaling = spec.rope_scaling();
  switch (scaling.kind()) {
    case RopeScaling::YARN:
      return KeptByYarn(scaling, spec.rope_theta(), spec.rope_dims() / 2, i);
    case RopeScaling::LLAMA3:
      return KeptByLlama3(scaling, frequency);
    case RopeScaling::LINEAR:
      return 0;
    default:
      return 1;
  }
}

// The base at a position beyond the original context, so that the slowest dimension turns as far as at its end.
double GrownBase(const proto::ModelSpec& spec, uint32_t position) {
  const RopeScaling& scaling = spec.rope_scaling();
  const double dims = spec.rope_dims();
  const double stretch =
      scaling.factor() * (position + 1.0) / scaling.original_context_length() - (scaling.factor() - 1.0);
  return spec.rope_theta() * std::pow(stretch, dims / (dims - 2));
}

}  // namespace

std::vector<float> RopeFrequencies(const proto::ModelSpec& spec, std::span<const float> factors) {
  const size_t half = spec.rope_dims() / 2;
  ONECOPY_CHECK(factors.empty() || factors.size() == half);
  std::vector<float> frequencies(half);
  for (size_t i = 0; i < half; ++i) {
    double frequency =
        std::pow(static_cast<double>(spec.rope_theta()), -static_cast<double>(i) / static_cast<double>(half));
    const double kept = Kept(spec, frequency, i);
    if (kept < 1) frequency *= kept + (1 - kept) / spec.rope_scaling().factor();
    if (!factors.empty()) frequency /= factors[i];
    frequencies[i] = static_cast<float>(frequency);
  }
  return frequencies;
}

void RopeAngles(const proto::ModelSpec& spec, std::span<const float> frequencies, uint32_t position,
                float* cos_sin) {
  const RopeScaling& scaling = spec.rope_scaling();
  const float factor = scaling.attention_factor() == 0 ? 1.0f : scaling.attention_factor();
  const bool grown =
      scaling.kind() == RopeScaling::DYNAMIC_NTK && position >= scaling.original_context_length();
  // Every frequency is a power of the base.
  const double base = grown ? GrownBase(spec, position) : 0;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const auto share = static_cast<double>(i) / static_cast<double>(frequencies.size());
    const float frequency = grown ? static_cast<float>(std::pow(base, -share)) : frequencies[i];
    const float angle = static_cast<float>(position) * frequency;
    *cos_sin++ = std::cos(angle) * factor;
    *cos_sin++ = std::sin(angle) * factor;
  }
}

float SoftmaxScale(const proto::ModelSpec& spec) {
  const float factor =
      spec.rope_scaling().softmax_factor() == 0 ? 1.0f : spec.rope_scaling().softmax_factor();
  if (spec.softmax_scale() != 0) return factor * spec.softmax_scale();
  return factor / std::sqrt(static_cast<float>(spec.head_dim()));
}

}  // namespace onecopy::exec
