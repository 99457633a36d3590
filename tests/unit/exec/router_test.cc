#include "runtime/exec/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/registry.h"

namespace onecopy::exec {
namespace {

using ::testing::ElementsAre;

const kernels::KernelTable& Ref() {
  std::string error;
  return *kernels::SelectTable("ref", &error);
}

proto::ModelSpec Spec(uint32_t experts, uint32_t used, bool normalise) {
  proto::ModelSpec spec;
  spec.set_n_experts(experts);
  spec.set_n_experts_used(used);
  spec.set_norm_topk_prob(normalise);
  return spec;
}

TEST(Router, GroupsTokensByExpertAscending) {
  std::vector<float> scores = {0, 3, 1, 2,   // token 0: experts 1, 3
                               5, 0, 0, 4};  // token 1: experts 0, 3
  const Routing routing = RouteTopK(Spec(4, 2, true), Ref(), scores.data(), 2);
  ASSERT_EQ(routing.groups.size(), 3u);
  EXPECT_EQ(routing.groups[0].expert, 0u);
  EXPECT_EQ(routing.groups[1].expert, 1u);
  EXPECT_EQ(routing.groups[2].expert, 3u);
  EXPECT_THAT(routing.tokens, ElementsAre(1, 0, 0, 1));
  const float first = 1 / (1 + std::exp(-1.0f));  // softmax of the two chosen
  EXPECT_NEAR(routing.weights[1], first, 1e-6);
  EXPECT_NEAR(routing.weights[2], 1 - first, 1e-6);
}

TEST(Router, WithoutNormalisationWeightsAreSharesOfAllExperts) {
  std::vector<float> scores = {std::log(1.0f), std::log(2.0f), std::log(3.0f), std::log(4.0f)};
  const Routing routing = RouteTopK(Spec(4, 2, false), Ref(), scores.data(), 1);
  EXPECT_NEAR(routing.weights[0], 0.3, 1e-6);
  EXPECT_NEAR(routing.weights[1], 0.4, 1e-6);
}

TEST(Router, TiesGoToTheLowerExpert) {
  std::vector<float> scores(6, 1.0f);
  const Routing routing = RouteTopK(Spec(6, 2, true), Ref(), scores.data(), 1);
  ASSERT_EQ(routing.groups.size(), 2u);
  EXPECT_EQ(routing.groups[0].expert, 0u);
  EXPECT_EQ(routing.groups[1].expert, 1u);
}

TEST(Router, NotANumberStillGivesKExperts) {
  std::vector<float> scores(4, std::nanf(""));
  const Routing routing = RouteTopK(Spec(4, 3, true), Ref(), scores.data(), 1);
  EXPECT_EQ(routing.tokens.size(), 3u);
}

}  // namespace
}  // namespace onecopy::exec
