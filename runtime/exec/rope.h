// Angles of the rotary positions (Su et al. 2021, arXiv 2104.09864), stretched as the spec's RopeScaling says. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"

namespace onecopy::exec {

// Radians per position of each pair of dimensions: [rope_dims / 2]. factors: the weight ROPE_FACTORS, or empty.
std::vector<float> RopeFrequencies(const proto::ModelSpec& spec, std::span<const float> factors = {});

// cos_sin: [frequencies][2] = {cos, sin} of the angles at `position`, multiplied by the scaling's attention factor. With
// DYNAMIC_NTK a position beyond the original context has a base of its own, that of a sequence which ends there: what is
// cached stays as it was, and no angle depends on how a prompt was cut into steps.
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
