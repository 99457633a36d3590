#include "runtime/text/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "runtime/text/pcg32.h"
#include "tests/support/processor_time.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

int32_t SampleOnce(const SamplerOptions& options, const std::vector<float>& logits,
                   const std::vector<int32_t>& history = {}) {
  const SampleResult result = Sampler(options, static_cast<int32_t>(logits.size())).Sample(logits, history);
  EXPECT_EQ(result.status, SampleStatus::kOk) << Describe(result.status);
  return result.token;
}

// The tokens that come up at all in many draws.
std::set<int32_t> Support(SamplerOptions options, const std::vector<float>& logits,
                          const std::vector<int32_t>& history = {}, int draws = 3000) {
  Sampler sampler(std::move(options), static_cast<int32_t>(logits.size()));
  std::set<int32_t> seen;
  for (int i = 0; i < draws; ++i) seen.insert(sampler.Sample(logits, history).token);
  return seen;
}

// The first numbers of pcg32-demo, the reference program: pcg32_srandom(42, 54).
TEST(Pcg32, GivesTheNumbersOfTheReference) {
  Pcg32 random(42, 54);
  for (const uint32_t expected :
       {0xa15c02b7u, 0x7b47f409u, 0xba1d3330u, 0x83d2f293u, 0xbfa4784bu, 0xcbed606eu}) {
    EXPECT_EQ(random.Next(), expected);
  }
}

TEST(Sampler, OwnExponentialAgreesWithLibm) {
  for (int i = 0; i < 19'000; ++i) {
    const double x = -0.0371 * i;
    ASSERT_NEAR(ExpOfNegative(x) / std::exp(x), 1.0, 2 * std::numeric_limits<double>::epsilon()) << x;
  }
  EXPECT_EQ(ExpOfNegative(0), 1.0);
  EXPECT_EQ(ExpOfNegative(-std::numeric_limits<double>::infinity()), 0.0);
}

TEST(Sampler, GreedyTakesTheLowestIdOfEqualLogits) {
  EXPECT_EQ(SampleOnce({.temperature = 0}, {1, 3, 3, 2}), 1);
  EXPECT_EQ(SampleOnce({.temperature = 0}, {-kInfinity, -5}), 1);
  EXPECT_EQ(SampleOnce({.temperature = 0}, {7}), 0);
}

TEST(Sampler, SameSeedGivesSameTokensAndAnotherSeedOthers) {
  Pcg32 random(1, 1);
  std::vector<float> logits(1000);
  for (float& logit : logits) logit = static_cast<float>(random.NextDouble() * 4);
  const auto run = [&](uint64_t seed) {
    Sampler sampler({.temperature = 0.9f, .top_k = 500, .top_p = 0.95f, .seed = seed}, 1000);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.Sample(logits, tokens).token);
    return tokens;
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

// Pearson's statistic against the probabilities, with the bound that one run in a million exceeds (Wilson-Hilferty).
void ExpectDistribution(const SamplerOptions& options, const std::vector<float>& logits,
                        const std::vector<double>& probabilities, const std::vector<int32_t>& history = {}) {
  constexpr int kDraws = 200'000;
  Sampler sampler(options, static_cast<int32_t>(logits.size()));
  std::vector<int> counts(logits.size());
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.Sample(logits, history).token];
  double statistic = 0, freedom = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = kDraws * probabilities[i];
    if (expected == 0) {
      EXPECT_EQ(counts[i], 0) << i;
      continue;
    }
    ASSERT_GT(expected, 5) << "too few for the approximation";
    statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
    ++freedom;
  }
  constexpr double kZ = 4.7534;  // of the standard normal, 1e-6 above
  const double root = 1 - 2 / (9 * freedom) + kZ * std::sqrt(2 / (9 * freedom));
  EXPECT_LT(statistic, freedom * root * root * root);
}

std::vector<double> Softmax(std::vector<double> x) {
  double total = 0;
  for (double& v : x) total += v = std::exp(v);
  for (double& v : x) v /= total;
  return x;
}

TEST(SamplerStatistics, DrawsFromTheSoftmax) {
  ExpectDistribution({.seed = 1}, {0, 1, 2, -1, 0.5}, Softmax({0, 1, 2, -1, 0.5}));
  ExpectDistribution({.temperature = 0.5f, .seed = 2}, {0, 1, 2}, Softmax({0, 2, 4}));
  ExpectDistribution({.temperature = 2.0f, .seed = 3}, {0, 1, 2}, Softmax({0, 0.5, 1}));
}

TEST(SamplerStatistics, TruncationRenormalises) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};
  ExpectDistribution({.top_k = 2, .seed = 4}, logits, {0, 4 / 7.0, 0, 3 / 7.0});
  ExpectDistribution({.top_p = 0.75f, .seed = 5}, logits, {0, 4 / 9.0, 2 / 9.0, 3 / 9.0});
  ExpectDistribution({.min_p = 0.6f, .seed = 6}, logits, {0, 4 / 7.0, 0, 3 / 7.0});
}

TEST(SamplerStatistics, PenaltiesChangeProbabilitiesAsWritten) {
  // Token 0 twice, token 1 once. 0: 2 / 1.25 - 2 x 0.3 - 0.2 = 0.8; 1: -1 x 1.25 - 0.3 - 0.2 = -1.75.
  ExpectDistribution(
      {.repetition_penalty = 1.25f, .presence_penalty = 0.2f, .frequency_penalty = 0.3f, .seed = 7},
      {2, -1, 0.5}, Softmax({0.8, -1.75, 0.5}), {0, 1, 0});
}

TEST(Sampler, TopPKeepsTheTokenThatReachesTheMass) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.25f), std::log(0.125f), std::log(0.125f)};
  EXPECT_THAT(Support({.top_p = 0.1f}, logits), ElementsAre(0));
  EXPECT_THAT(Support({.top_p = 0.51f}, logits), ElementsAre(0, 1));
  EXPECT_THAT(Support({.top_p = 0.99f}, logits), ElementsAre(0, 1, 2, 3));
}

TEST(Sampler, TopPCountsProbabilitiesAfterTheTemperatureAndTopK) {
  // At temperature 1 two tokens reach 0.8; at 4 it takes three; among the best two, the first alone is 2/3.
  const std::vector<float> logits = {std::log(0.6f), std::log(0.3f), std::log(0.1f)};
  EXPECT_THAT(Support({.top_p = 0.8f}, logits), ElementsAre(0, 1));
  EXPECT_THAT(Support({.temperature = 4, .top_p = 0.8f}, logits), ElementsAre(0, 1, 2));
  EXPECT_THAT(Support({.top_k = 2, .top_p = 0.65f}, logits), ElementsAre(0));
}

// The definition: sort, and count until the mass is reached.
TEST(Sampler, TopPKeepsWhatSortingWouldKeep) {
  Pcg32 random(11, 11);
  for (int round = 0; round < 40; ++round) {
    const auto size = static_cast<int32_t>(1 + random.Next() % 40);
    std::vector<float> logits(size);
    // Few different values, so that there are ties.
    for (float& logit : logits) logit = static_cast<float>(random.Next() % 6) * 0.7f;
    const float p = 0.05f + 0.9f * static_cast<float>(random.NextDouble());
    std::vector<int32_t> ids(size);
    std::iota(ids.begin(), ids.end(), 0);
    std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    double total = 0, sum = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit));
    std::set<int32_t> expected;
    for (size_t i = 0; i < ids.size() && sum < total * p; ++i) {
      expected.insert(ids[i]);
      sum += std::exp(static_cast<double>(logits[ids[i]]));
    }
    ASSERT_EQ(Support({.top_p = p, .seed = 1}, logits, {}, 40000), expected) << round;
  }
}

TEST(Sampler, TopPOverManyEqualTokensKeepsTheLowIds) {
  const std::set<int32_t> seen = Support({.top_p = 0.5f}, std::vector<float>(1001, 1.0f), {}, 20'000);
  EXPECT_EQ(*seen.rbegin(), 500);  // 501 of 1001 reach one half
  EXPECT_EQ(seen.size(), 501u);
}

TEST(Sampler, TopKOfEqualLogitsKeepsTheLowIds) {
  EXPECT_THAT(Support({.top_k = 2}, {1, 1, 1, 0, 1}), ElementsAre(0, 1));
  EXPECT_THAT(Support({.top_k = 3}, {0, 1, 1, 0, 2}), ElementsAre(1, 2, 4));
  EXPECT_THAT(Support({.top_k = 99}, {0, 0, 0}), ElementsAre(0, 1, 2));
}

TEST(Sampler, PenaltiesCountTheLastTokensOnly) {
  const std::vector<float> logits = {5, 4, 0};
  const std::vector<int32_t> history = {0, 1};
  EXPECT_EQ(SampleOnce({.temperature = 0, .repetition_penalty = 10}, logits, history), 0);  // 0.5, 0.4, 0
  EXPECT_EQ(SampleOnce({.temperature = 0, .presence_penalty = 2, .penalty_last_n = 1}, logits, history), 0);
  EXPECT_EQ(SampleOnce({.temperature = 0, .presence_penalty = 2, .penalty_last_n = 1}, logits, {1, 0}), 1);
  EXPECT_EQ(SampleOnce({.temperature = 0, .presence_penalty = 9, .penalty_last_n = 0}, logits, history), 0);
  EXPECT_EQ(SampleOnce({.temperature = 0, .frequency_penalty = 0.6f}, logits, {0, 0}), 1);  // 5 - 1.2 < 4
  EXPECT_EQ(SampleOnce({.temperature = 0, .presence_penalty = 0.6f}, logits, {0, 0}), 0);   // 5 - 0.6 > 4
  EXPECT_EQ(SampleOnce({.temperature = 0, .presence_penalty = 2}, logits, {0, -1, 3, INT32_MAX}), 1);
}

TEST(Sampler, RepetitionPenaltyLowersNegativeLogitsToo) {
  EXPECT_EQ(SampleOnce({.temperature = 0, .repetition_penalty = 2}, {-1, -1.5f}, {0}), 1);  // -2 < -1.5
}

TEST(Sampler, PenaltiesStartAfreshInEveryCall) {
  Sampler sampler({.temperature = 0, .frequency_penalty = 0.3f}, 2);
  const std::vector<float> logits = {1, 0.5f};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(sampler.Sample(logits, std::vector<int32_t>{0}).token, 0);
}

TEST(Sampler, BiasForcesAndForbids) {
  EXPECT_EQ(SampleOnce({.temperature = 0, .logit_bias = {{2, 100.0f}}}, {5, 4, 0}), 2);
  EXPECT_THAT(Support({.logit_bias = {{0, -kInfinity}}}, {50, 0, 0}), ElementsAre(1, 2));
}

TEST(Sampler, BrokenLogitsAreAStatusAndNoToken) {
  const auto status = [](const std::vector<float>& logits, float temperature) {
    const SampleResult result = Sampler({.temperature = temperature}, 3).Sample(logits, {});
    EXPECT_EQ(result.token, -1);
    return result.status;
  };
  for (const float temperature : {0.0f, 1.0f}) {
    EXPECT_EQ(status({1, kNaN, 2}, temperature), SampleStatus::kNotANumber);
    EXPECT_EQ(status({1, kInfinity, 2}, temperature), SampleStatus::kNotANumber);
    EXPECT_EQ(status({-kInfinity, -kInfinity, -kInfinity}, temperature), SampleStatus::kNoCandidate);
    EXPECT_EQ(status({1, 2}, temperature), SampleStatus::kWrongSize);
  }
}

TEST(Sampler, ExtremeLogitsAndTemperaturesStillGiveTheLargest) {
  EXPECT_EQ(SampleOnce({.temperature = 1e-30f}, {3e38f, -3e38f}), 0);
  EXPECT_EQ(SampleOnce({.temperature = 1e-30f, .top_p = 0.9f, .min_p = 1.0f}, {0, 1e-6f}), 1);
  EXPECT_EQ(SampleOnce({.top_k = 1}, {-kInfinity, -3e38f}), 1);
}

TEST(Sampler, RefusesOptionsOutOfRangeAllAtOnce) {
  const std::string message = MessageOf(ErrorCode::kUsage, [] {
    Sampler({.temperature = -1,
             .top_k = -2,
             .top_p = 0,
             .min_p = kNaN,
             .repetition_penalty = 0,
             .presence_penalty = kInfinity,
             .frequency_penalty = kNaN,
             .penalty_last_n = -2,
             .logit_bias = {{10, 0.0f}, {1, kNaN}}},
            10);
  });
  for (const char* part :
       {"temperature is -1", "top_k is -2", "top_p is 0", "min_p is nan", "repetition_penalty is 0",
        "presence_penalty is inf", "frequency_penalty is nan", "penalty_last_n is -2",
        "logit_bias names token 10, expected 0 to 9", "logit_bias of token 1 is nan"}) {
    EXPECT_THAT(message, HasSubstr(part));
  }
}

TEST(Sampler, LargeVocabularyTakesMilliseconds) {
  Pcg32 random(9, 9);
  std::vector<float> logits(150'000);
  // Sums of uniforms: about normal with deviation 2.5, as the logits of a model.
  for (float& logit : logits) {
    for (int i = 0; i < 12; ++i) logit += static_cast<float>(random.NextDouble() * 2.5 - 1.25);
  }
  const std::pair<const char*, SamplerOptions> cases[] = {
      {"greedy", {.temperature = 0}},
      {"plain", {}},
      {"top_k 40, top_p 0.95", {.top_k = 40, .top_p = 0.95f}},
      {"top_p 0.95", {.top_p = 0.95f}},
      {"min_p", {.min_p = 0.05f}},
      {"top_p, temperature 3", {.temperature = 3, .top_p = 0.95f}}};
  for (const auto& [name, options] : cases) {
    Sampler sampler(options, 150'000);
    constexpr int kRounds = 20;
    const double seconds = test::ThreadSeconds([&] {
      for (int i = 0; i < kRounds; ++i) sampler.Sample(logits, {});
    });
    RecordProperty(std::string("milliseconds, ") + name, std::to_string(seconds / kRounds * 1000));
#if !defined(__SANITIZE_ADDRESS__)
    EXPECT_LT(seconds / kRounds, 0.05) << name;
#endif
  }
}

}  // namespace
}  // namespace onecopy::text
