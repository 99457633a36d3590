// Angles of the rotary positions (Su et al. 2021, arXiv 2104.09864), stretched as the spec's RopeScaling says. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"

namespace onecopy::exec {

// Radians per position of each pair of dimensions: [rope_dims / 2].
std::vector<float> RopeFrequencies(const proto::ModelSpec& spec);

// cos_sin: [frequencies][2] = {cos, sin} of the angles at `position`, multiplied by the scaling's attention factor.
void RopeAngles(const proto::ModelSpec& spec, std::span<const float> frequencies, uint32_t position,
                float* cos_sin);

// What query vectors of head_dim values are multiplied with.
float SoftmaxScale(const proto::ModelSpec& spec);

// Rotates the leading rope_dims values of a head.
using RopeFn = void (*)(float* x, const float* cos_sin, size_t half);
inline RopeFn RopeOf(const proto::ModelSpec& spec, const kernels::KernelTable& table) {
  return spec.rope_style() == proto::ModelSpec::NEOX ? table.rope_neox : table.rope_pairwise;
}

}  // namespace onecopy::exec
