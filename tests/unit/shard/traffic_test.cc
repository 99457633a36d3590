#include "runtime/shard/traffic.h"

#include <gtest/gtest.h>

#include "kernels/registry.h"
#include "runtime/shard/plan.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"
#include "tests/support/processor_time.h"

namespace onecopy::shard {
namespace {

using kernels::WeightType;

// Every expert by itself, as the definition says.
double BytesOneByOne(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank) {
  double bytes = 0;
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    if (plan.placements(w).axis() == proto::WeightPlacement::REPLICATED) continue;
    double share = weight.n_experts() > 0 ? double(spec.n_experts_used()) / spec.n_experts() : 1;
    if (weight.role() == proto::Weight::TOKEN_EMBEDDING) share = 1.0 / static_cast<double>(weight.rows());
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e)
      bytes += share * static_cast<double>(
                           kernels::PackedBytes(ShardShape(spec, plan, test::AnyTable(), w, e, rank)));
  }
  return bytes;
}

TEST(Traffic, GroupsOfLikeExpertsGiveWhatOneByOneGives) {
  const auto spec = test::SmallModel(WeightType::kQ4_K);
  for (const int ranks : {1, 2, 3, 5, 24}) {
    const auto plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = ranks, .shares = {}});
    const TokenCost cost = CostOfToken(spec, plan, test::AnyTable());
    double sum = 0, most = 0;
    for (int r = 0; r < ranks; ++r) {
      sum += BytesOneByOne(spec, plan, r);
      most = std::max(most, BytesOneByOne(spec, plan, r));
    }
    EXPECT_NEAR(cost.weight_bytes, sum, 1e-6 * sum) << ranks;
    EXPECT_NEAR(cost.most_loaded_bytes, most, 1e-6 * most) << ranks;
  }
}

TEST(Traffic, GroupsHoldEveryExpertOnce) {
  const auto spec = test::SmallModel(WeightType::kQ8_0);
  const auto plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 7, .shares = {}});
  for (int w = 0; w < spec.weights_size(); ++w) {
    if (plan.placements(w).axis() == proto::WeightPlacement::REPLICATED) continue;
    uint32_t experts = 0;
    for (const LikeExperts& alike : GroupByCut(spec.weights(w), plan.placements(w))) experts += alike.count;
    EXPECT_EQ(experts, std::max(1u, spec.weights(w).n_experts())) << spec.weights(w).name();
  }
}

// Hand-made: one layer of one dense matrix a role would be; here what a token multiplies.
TEST(Traffic, MultiplyAddsAreThoseOfDenseMatricesAndOfTheExpertsUsed) {
  const auto spec = test::SmallModel(WeightType::kQ8_0);
  const double attention = 512 * 256 + 2 * 128 * 256 + 256 * 512, dense = 3 * 768 * 256;
  const double moe = 8 * 256 + 2 * 3 * 512 * 256, head = 4096 * 256;
  const auto plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 1, .shares = {}});
  EXPECT_DOUBLE_EQ(CostOfToken(spec, plan, test::AnyTable()).multiply_adds,
                   4 * attention + dense + 3 * moe + head);
}

TEST(Traffic, DeepSeekOn24RanksTakesMilliseconds) {
  const auto spec =
      test::Shapes(std::string(ONECOPY_TEST_DATA) + "/model-shapes.json", "DeepSeek-V3", WeightType::kQ4_K);
  const auto plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 24, .shares = {}});
  const double seconds = test::ThreadSeconds([&] { CostOfToken(spec, plan, test::AnyTable()); });
  // A few milliseconds in a release build; sanitizers take their time.
  EXPECT_LT(seconds, 1.0);
}

}  // namespace
}  // namespace onecopy::shard
