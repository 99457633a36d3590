#include "runtime/shard/balance.h"

#include <gtest/gtest.h>

#include <numeric>

#include "runtime/base/error.h"
#include "runtime/shard/plan.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::shard {
namespace {

const std::vector<RankMeans> kUneven = {
    {40'000'000'000, 100e9}, {20'000'000'000, 50e9}, {10'000'000'000, 100e9}};

TEST(Balance, NamesAreThoseOfTheOption) {
  EXPECT_EQ(ParseBalance("even"), Balance::kEven);
  EXPECT_EQ(ParseBalance("memory"), Balance::kMemory);
  EXPECT_EQ(ParseBalance("bandwidth"), Balance::kBandwidth);
  EXPECT_FALSE(ParseBalance("Even").has_value());
  EXPECT_FALSE(ParseBalance("").has_value());
}

TEST(Balance, SharesAreInTheRatioOfWhatIsBalanced) {
  EXPECT_TRUE(SharesOf(Balance::kEven, kUneven, 0).empty());
  const auto bandwidth = SharesOf(Balance::kBandwidth, kUneven, 0);
  ASSERT_EQ(bandwidth.size(), 3u);
  EXPECT_DOUBLE_EQ(bandwidth[0] / bandwidth[1], 2);
  EXPECT_DOUBLE_EQ(bandwidth[0], bandwidth[2]);
  // What a rank needs whatever its share is not there for weights.
  const auto memory = SharesOf(Balance::kMemory, kUneven, 5'000'000'000);
  ASSERT_EQ(memory.size(), 3u);
  EXPECT_DOUBLE_EQ(memory[0] / memory[2], 35.0 / 5.0);
}

TEST(Balance, RankWithoutMeansIsNamed) {
  const auto code = [](Balance balance, const std::vector<RankMeans>& ranks, uint64_t reserve) {
    try {
      SharesOf(balance, ranks, reserve);
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("rank 1"), std::string::npos) << e.what();
      return e.code();
    }
    return ErrorCode::kOk;
  };
  EXPECT_EQ(code(Balance::kMemory, {{100, 1}, {50, 1}}, 50), ErrorCode::kNoMemory);
  EXPECT_EQ(code(Balance::kBandwidth, {{100, 1}, {100, 0}}, 0), ErrorCode::kUsage);
}

TEST(Balance, PlanFollowsTheShares) {
  const auto& table = test::AnyTable();
  const auto spec = test::Shapes(std::string(ONECOPY_TEST_DATA) + "/model-shapes.json", "Qwen3-30B-A3B",
                                 kernels::WeightType::kQ4_K);
  const auto plan =
      MakeShardPlan(spec, table, {.ranks = 3, .shares = SharesOf(Balance::kBandwidth, kUneven, 0)});
  const double whole = static_cast<double>(plan.weight_bytes());
  for (int r = 0; r < 3; ++r)
    EXPECT_NEAR(static_cast<double>(plan.totals(r).weight_bytes()) / whole, kUneven[r].read_bandwidth / 250e9,
                0.02);
}

}  // namespace
}  // namespace onecopy::shard
