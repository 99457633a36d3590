#include "runtime/exec/head_rotation.h"

#include <algorithm>
#include <cmath>

namespace onecopy::exec {

HeadRotation::HeadRotation(const proto::ModelSpec& spec, const kernels::KernelTable& table,
                           std::span<const float> factors)
    : spec_(spec),
      table_(table),
      rope_(RopeOf(spec, table)),
      head_dim_(spec.head_dim()),
      half_(spec.rope_dims() / 2),
      softmax_scale_(SoftmaxScale(spec)),
      rotated_(spec.n_layers(), true),
      frequencies_(RopeFrequencies(spec, factors)) {
  for (const uint32_t layer : spec.nope_layers()) rotated_[layer] = false;
  if (spec.qk_l2_norm()) ones_.assign(head_dim_, 1.0f);
  sliding_.resize(spec.n_layers());
  if (spec.sliding_rope_theta() == 0) return;
  for (const uint32_t layer : spec.sliding_layers()) sliding_[layer] = true;
  proto::ModelSpec other;
  other.set_rope_dims(spec.rope_dims());
  other.set_rope_theta(spec.sliding_rope_theta());
  sliding_frequencies_ = RopeFrequencies(other);
}

void HeadRotation::SetStep(const proto::Step& step, const ThreadTeam& team) {
  const size_t n = step.tokens_size();
  auto* cos_sin = cos_sin_.ReserveAs<float>(n * half_ * 2);
  auto* of_sliding = sliding_cos_sin_.ReserveAs<float>(sliding_frequencies_.empty() ? 0 : n * half_ * 2);
  team.For(n, [&](size_t t, int) {
    const uint32_t position = step.positions(static_cast<int>(t));
    RopeAngles(spec_, frequencies_, position, cos_sin + t * half_ * 2);
    // Without frequencies there is nothing to write.
    RopeAngles(spec_, sliding_frequencies_, position, of_sliding + t * half_ * 2);
  });
  if (spec_.temperature_interval() == 0) return;
  temperature_.resize(n);
  for (size_t t = 0; t < n; ++t) {
    const float seen = static_cast<float>(step.positions(static_cast<int>(t))) + 1.0f;
    const float intervals = std::floor(seen / static_cast<float>(spec_.temperature_interval()));
    temperature_[t] = std::log1p(intervals) * spec_.temperature_scale() + 1.0f;
  }
}

const float* HeadRotation::CosSin(uint32_t layer) const {
  return (sliding_[layer] ? sliding_cos_sin_ : cos_sin_).As<float>();
}

void HeadRotation::Turn(uint32_t layer, size_t token, float* head) const {
  rope_(head, CosSin(layer) + token * half_ * 2, half_);
  if (!ones_.empty()) table_.rms_norm(head, ones_.data(), spec_.rms_norm_eps(), head_dim_, head);
}

void HeadRotation::Query(uint32_t layer, size_t token, float* head) const {
  float scale = softmax_scale_;
  if (rotated_[layer])
    Turn(layer, token, head);
  else if (!temperature_.empty())
    scale *= temperature_[token];
  for (size_t i = 0; i < head_dim_; ++i) head[i] *= scale;
}

void HeadRotation::Key(uint32_t layer, size_t token, float* head) const {
  if (rotated_[layer]) Turn(layer, token, head);
}

}  // namespace onecopy::exec
