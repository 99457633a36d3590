#include "runtime/exec/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/kernel_table.h"

namespace onecopy::exec {
namespace {

using ::testing::ElementsAre;

proto::ModelSpec Spec(uint32_t experts, uint32_t used, bool normalise) {
  proto::ModelSpec spec;
  spec.set_n_experts(experts);
  spec.set_n_experts_used(used);
  spec.set_norm_topk_prob(normalise);
  return spec;
}

Routing Route(const proto::ModelSpec& spec, std::vector<float>& scores, size_t n_tokens,
              const RouterBiases& biases = {}) {
  const ThreadTeam team(2);
  Routing routing;
  RouteTopK(spec, test::RefTable(), team, biases, scores.data(), n_tokens, &routing);
  return routing;
}

TEST(Router, GroupsTokensByExpertAscending) {
  std::vector<float> scores = {0, 3, 1, 2,   // token 0: experts 1, 3
                               5, 0, 0, 4};  // token 1: experts 0, 3
  const Routing routing = Route(Spec(4, 2, true), scores, 2);
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
  const Routing routing = Route(Spec(4, 2, false), scores, 1);
  EXPECT_NEAR(routing.weights[0], 0.3, 1e-6);
  EXPECT_NEAR(routing.weights[1], 0.4, 1e-6);
}

// Sigmoids of 30 and 40 are the same float; the larger logit is chosen. The shared expert's input is as it is.
TEST(Router, InputsAreWeightedByTheSigmoidOfExpertsChosenByLogits) {
  proto::ModelSpec spec = Spec(3, 1, false);
  spec.set_gating(proto::ModelSpec::SIGMOID);
  spec.set_weights_scale_inputs(true);
  std::vector<float> scores = {30, 40, -1, -3, -2, -1};
  Routing routing = Route(spec, scores, 2);
  RouteShared(2, {}, &routing);
  ASSERT_EQ(routing.groups.size(), 3u);
  EXPECT_EQ(routing.groups[0].expert, 1u);
  EXPECT_EQ(routing.groups[1].expert, 2u);
  EXPECT_THAT(routing.weights, ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(routing.input_weights, ElementsAre(1, ::testing::FloatEq(1 / (1 + std::exp(1.0f))), 1, 1));
  RouteAll(2, &routing);
  EXPECT_THAT(routing.input_weights, ElementsAre());
}

TEST(Router, TiesGoToTheLowerExpert) {
  std::vector<float> scores(6, 1.0f);
  const Routing routing = Route(Spec(6, 2, true), scores, 1);
  ASSERT_EQ(routing.groups.size(), 2u);
  EXPECT_EQ(routing.groups[0].expert, 0u);
  EXPECT_EQ(routing.groups[1].expert, 1u);
}

TEST(Router, NotANumberStillGivesKExperts) {
  std::vector<float> scores(4, std::nanf(""));
  const Routing routing = Route(Spec(4, 3, true), scores, 1);
  EXPECT_EQ(routing.tokens.size(), 3u);
}

float Sigmoid(float x) {
  return 1 / (1 + std::exp(-x));
}

TEST(Router, ABiasOfTheScoresChoosesAndDoesNotWeigh) {
  proto::ModelSpec spec = Spec(4, 2, false);
  spec.set_gating(proto::ModelSpec::SIGMOID);
  spec.set_routed_scaling_factor(2.5f);
  std::vector<float> scores = {2, 1, 0, -1};
  const float bias[] = {0, -1, 0, 1};
  const Routing routing = Route(spec, scores, 1, {.logits = {}, .scores = bias});
  ASSERT_EQ(routing.groups.size(), 2u);
  EXPECT_EQ(routing.groups[0].expert, 0u);
  EXPECT_EQ(routing.groups[1].expert, 3u);  // sigmoid(-1) + 1 is the largest of all
  EXPECT_FLOAT_EQ(routing.weights[0], 2.5f * Sigmoid(2));
  EXPECT_FLOAT_EQ(routing.weights[1], 2.5f * Sigmoid(-1));
}

TEST(Router, ABiasOfTheLogitsChoosesAndWeighs) {
  std::vector<float> scores = {3, 2, 1, 0};
  const float bias[] = {0, 0, 0, 4};
  const Routing routing = Route(Spec(4, 2, true), scores, 1, {.logits = bias, .scores = {}});
  ASSERT_EQ(routing.groups.size(), 2u);
  EXPECT_EQ(routing.groups[1].expert, 3u);
  EXPECT_FLOAT_EQ(routing.weights[1], Sigmoid(1));  // softmax of 3 and 4
}

TEST(Router, GroupsAreChosenByTheirBestOrTheSumOfTheirBestTwo) {
  // Two groups: the first has the best expert, the second the better pair.
  proto::ModelSpec spec = Spec(6, 2, false);
  spec.set_n_group(2);
  spec.set_topk_group(1);
  const std::vector<float> logits = {5, 0, 0, 4, 4, 0};
  for (const bool sum : {false, true}) {
    spec.set_group_score(sum ? proto::ModelSpec::GROUP_TOP2_SUM : proto::ModelSpec::GROUP_MAX);
    std::vector<float> scores = logits;
    spec.set_gating(proto::ModelSpec::SIGMOID);
    const Routing routing = Route(spec, scores, 1);
    ASSERT_EQ(routing.groups.size(), 2u);
    EXPECT_EQ(routing.groups[0].expert, sum ? 3u : 0u);
    EXPECT_EQ(routing.groups[1].expert, sum ? 4u : 1u);
  }
}

TEST(Router, TheSharedExpertTakesAllTokens) {
  std::vector<float> scores = {0, 3, 1, 2, 5, 0, 0, 4};
  Routing routing = Route(Spec(4, 2, true), scores, 2);
  const float gates[] = {0, 100};
  RouteShared(2, gates, &routing);
  const ExpertGroup& last = routing.groups.back();
  EXPECT_EQ(last.expert, kSharedExpert);
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(routing.tokens[last.begin], 0u);
  EXPECT_EQ(routing.tokens[last.begin + 1], 1u);
  EXPECT_FLOAT_EQ(routing.weights[last.begin], 0.5f);
  EXPECT_FLOAT_EQ(routing.weights[last.begin + 1], 1.0f);
}

// Tokens are dealt out to threads in pieces, and a Routing is used again: neither shows.
TEST(Router, ManyTokensAreRoutedAsEachAlone) {
  constexpr size_t kTokens = 100, kExperts = 40, kUsed = 6;
  const proto::ModelSpec spec = Spec(kExperts, kUsed, true);
  std::vector<float> scores(kTokens * kExperts);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>((i * 7919) % 1009) / 100.0f;
  std::vector<float> all = scores;
  const ThreadTeam team(3);
  Routing routing;
  RouteAll(500, &routing);
  RouteTopK(spec, test::RefTable(), team, {}, all.data(), kTokens, &routing);
  ASSERT_EQ(routing.tokens.size(), kTokens * kUsed);
  std::vector<std::vector<std::pair<uint32_t, float>>> of_token(kTokens);
  for (const ExpertGroup& group : routing.groups)
    for (uint32_t i = group.begin; i < group.end; ++i)
      of_token[routing.tokens[i]].push_back({group.expert, routing.weights[i]});
  for (size_t t = 0; t < kTokens; ++t) {
    std::vector<float> one(scores.begin() + t * kExperts, scores.begin() + (t + 1) * kExperts);
    const Routing alone = Route(spec, one, 1);
    std::vector<std::pair<uint32_t, float>> want;
    for (size_t i = 0; i < alone.groups.size(); ++i)
      want.push_back({alone.groups[i].expert, alone.weights[i]});
    EXPECT_EQ(of_token[t], want) << "token " << t;
  }
}

}  // namespace
}  // namespace onecopy::exec
