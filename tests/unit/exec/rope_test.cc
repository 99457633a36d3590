// Frequencies of rotary positions against those of transformers' modeling_rope_utils.
#include "runtime/exec/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace onecopy::exec {
namespace {

using proto::RopeScaling;

proto::ModelSpec SpecOf(float theta, uint32_t dims, RopeScaling::Kind kind, float factor, uint32_t original) {
  proto::ModelSpec spec;
  spec.set_head_dim(2 * dims);  // half of each head is rotated
  spec.set_rope_dims(dims);
  spec.set_rope_theta(theta);
  spec.mutable_rope_scaling()->set_kind(kind);
  spec.mutable_rope_scaling()->set_factor(factor);
  spec.mutable_rope_scaling()->set_original_context_length(original);
  return spec;
}

void ExpectFrequencies(const std::vector<float>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i] / want[i], 1, 1e-6) << i;
}

TEST(Rope, LinearDividesEveryFrequency) {
  const auto plain = RopeFrequencies(SpecOf(10000, 8, RopeScaling::NONE, 0, 0));
  ExpectFrequencies(plain, {1, 0.1, 0.01, 0.001});
  ExpectFrequencies(RopeFrequencies(SpecOf(10000, 8, RopeScaling::LINEAR, 4, 0)),
                    {0.25, 0.025, 0.0025, 0.00025});
}

TEST(Rope, FactorsOfAFileDivideEachItsFrequency) {
  const float factors[] = {1, 2, 4, 8};
  ExpectFrequencies(RopeFrequencies(SpecOf(10000, 8, RopeScaling::NONE, 0, 0), factors),
                    {1, 0.05, 0.0025, 0.000125});
}

TEST(Rope, DynamicNtkGrowsTheBaseBeyondTheOriginalContext) {
  const proto::ModelSpec spec = SpecOf(10000, 8, RopeScaling::DYNAMIC_NTK, 2, 64);
  const auto frequencies = RopeFrequencies(spec);
  ExpectFrequencies(frequencies, {1, 0.1, 0.01, 0.001});
  const auto angle = [&](uint32_t position, size_t i) {
    float cos_sin[8];
    RopeAngles(spec, frequencies, position, cos_sin);
    return std::atan2(cos_sin[2 * i + 1], cos_sin[2 * i]);
  };
  // Up to the context's end nothing changes.
  EXPECT_NEAR(angle(63, 3), 0.063, 1e-6);
  // 128 positions: the base is 10000 (2 * 128 / 64 - 1)^(8 / 6), and the slowest dimension turns by its power of -3/4.
  const double base = 10000 * std::pow(3.0, 8.0 / 6.0);
  EXPECT_NEAR(angle(127, 3), 127 * std::pow(base, -0.75), 1e-6);
  EXPECT_NEAR(angle(127, 2), 127 * std::pow(base, -0.5), 1e-6);
  EXPECT_NEAR(angle(127, 3), 127 * 0.001 / 3, 1e-6) << "as one a third as far away";
}

TEST(Rope, SoftmaxScaleOfTheSpecReplacesThatOfTheHead) {
  proto::ModelSpec spec = SpecOf(10000, 8, RopeScaling::NONE, 0, 0);
  EXPECT_FLOAT_EQ(SoftmaxScale(spec), 0.25f);
  spec.set_softmax_scale(0.02f);
  EXPECT_FLOAT_EQ(SoftmaxScale(spec), 0.02f);
}

}  // namespace
}  // namespace onecopy::exec
