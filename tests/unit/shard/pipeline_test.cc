// Stages: what their ranks own, and how layers are divided.
#include "runtime/shard/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/base/error.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::shard {
namespace {

using proto::Weight;

proto::ModelSpec Shapes(const char* name) {
  return test::Shapes(ONECOPY_TEST_DATA "/model-shapes.json", name, kernels::WeightType::kQ4_K);
}

class PipelineOfPublishedShapes
    : public ::testing::TestWithParam<std::tuple<const char*, std::vector<uint32_t>>> {};

TEST_P(PipelineOfPublishedShapes, EveryWeightIsOwnedOnceAndOnlyByTheRanksOfItsStage) {
  const auto& [name, stages] = GetParam();
  const proto::ModelSpec spec = Shapes(name);
  const auto ranks = static_cast<int>(stages.back());
  const proto::ShardPlan plan =
      MakeShardPlan(spec, test::AnyTable(), {.ranks = ranks, .stage_ranks = stages});
  for (int w = 0; w < spec.weights_size(); ++w) {
    const Weight& weight = spec.weights(w);
    if (plan.placements(w).axis() == proto::WeightPlacement::REPLICATED) continue;
    const bool outside = weight.role() == Weight::LM_HEAD || weight.role() == Weight::TOKEN_EMBEDDING;
    const int stage = weight.role() == Weight::TOKEN_EMBEDDING ? EmbeddingStage(spec, NumStages(plan))
                      : outside                                ? NumStages(plan) - 1
                                                               : StageOfLayer(plan, weight.layer());
    const bool by_cols = plan.placements(w).axis() == proto::WeightPlacement::COLS;
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      uint64_t next = 0;
      for (int r = 0; r < ranks; ++r) {
        const Range range = OwnedRange(spec, plan, w, e, r);
        ASSERT_EQ(range.begin, next) << weight.name() << " rank " << r;
        next = range.end;
        if (StageOfRank(plan, r) == stage) continue;
        ASSERT_EQ(range.size(), 0u) << weight.name() << " rank " << r;
      }
      ASSERT_EQ(next, by_cols ? weight.cols() : weight.rows()) << weight.name();
    }
  }
  uint64_t sum = 0;
  for (const auto& totals : plan.totals()) sum += totals.weight_bytes() - totals.split_header_bytes();
  EXPECT_EQ(sum, FullCopyBytes(spec, test::AnyTable())) << "one copy";
  // A stage is at most one layer from what an even division would give it.
  for (int s = 0; s < NumStages(plan); ++s) {
    double bytes = 0;
    for (uint32_t r = RanksOfStage(plan, s).begin; r < RanksOfStage(plan, s).end; ++r)
      bytes += static_cast<double>(plan.totals(static_cast<int>(r)).weight_bytes());
    const double whole = static_cast<double>(plan.weight_bytes());
    const double share = static_cast<double>(RanksOfStage(plan, s).size()) / ranks;
    EXPECT_LT(bytes / whole, share + 1.2 / spec.n_layers()) << "stage " << s;
  }
}

TEST_P(PipelineOfPublishedShapes, TheCacheIsHeldOnlyForTheLayersOfTheStage) {
  const auto& [name, stages] = GetParam();
  const proto::ModelSpec spec = Shapes(name);
  const auto ranks = static_cast<int>(stages.back());
  const proto::ShardPlan plan =
      MakeShardPlan(spec, test::AnyTable(), {.ranks = ranks, .stage_ranks = stages});
  if (spec.kv_lora_rank() > 0) {
    uint64_t sum = 0;
    for (int s = 0; s < NumStages(plan); ++s)
      sum += plan.totals(static_cast<int>(RanksOfStage(plan, s).begin)).kv_bytes_per_token() *
             (plan.mla_cache() == proto::ShardPlan::BY_POSITION ? RanksOfStage(plan, s).size() : 1);
    const uint64_t latent =
        kernels::KvRowBytes(test::AnyTable().kv_type, spec.kv_lora_rank() + spec.qk_rope_head_dim()) *
        spec.n_layers();
    EXPECT_GE(sum, latent);
    EXPECT_LT(sum, latent + ranks);  // averages are rounded up
    return;
  }
  for (uint32_t l = 0; l < spec.n_layers(); ++l)
    for (int r = 0; r < ranks; ++r) {
      if (StageOfRank(plan, r) == StageOfLayer(plan, l)) continue;
      ASSERT_EQ(OwnedKvHeads(spec, plan, l, r).size(), 0u) << "layer " << l << " rank " << r;
    }
}

INSTANTIATE_TEST_SUITE_P(All, PipelineOfPublishedShapes,
                         ::testing::Combine(::testing::Values("Qwen3-30B-A3B", "DeepSeek-V3", "Mixtral-8x7B"),
                                            ::testing::Values(std::vector<uint32_t>{0, 1, 2},
                                                              std::vector<uint32_t>{0, 2, 4},
                                                              std::vector<uint32_t>{0, 1, 4},
                                                              std::vector<uint32_t>{0, 8, 16, 24})));

TEST(Pipeline, PositionsOfALatentCacheGoRoundTheRanksOfEachStage) {
  const proto::ModelSpec spec = Shapes("DeepSeek-V3");
  const proto::ShardPlan plan =
      MakeShardPlan(spec, test::AnyTable(), {.ranks = 5, .stage_ranks = {0, 2, 5}, .kv_tokens = 128 << 10});
  ASSERT_EQ(plan.mla_cache(), proto::ShardPlan::BY_POSITION);
  for (const uint64_t positions : {1, 64, 65, 1000, 131072}) {
    EXPECT_EQ(OwnedPositions(plan, 0, positions) + OwnedPositions(plan, 1, positions), positions);
    EXPECT_EQ(OwnedPositions(plan, 2, positions) + OwnedPositions(plan, 3, positions) +
                  OwnedPositions(plan, 4, positions),
              positions);
  }
}

TEST(Pipeline, RefusesStagesThatDoNotDivideTheRanksOrExceedTheLayers) {
  const proto::ModelSpec spec = Shapes("Mixtral-8x7B");
  for (const std::vector<uint32_t>& stages :
       {std::vector<uint32_t>{0, 2}, {0, 2, 2, 4}, {1, 4}, {0, 3, 2, 4}, {0}})
    EXPECT_THROW(MakeShardPlan(spec, test::AnyTable(), {.ranks = 4, .stage_ranks = stages}), Error);
  std::vector<uint32_t> one_each(34);
  for (uint32_t i = 0; i < one_each.size(); ++i) one_each[i] = i;
  EXPECT_THROW(MakeShardPlan(spec, test::AnyTable(), {.ranks = 33, .stage_ranks = one_each}), Error)
      << "32 layers";
}

TEST(Pipeline, LayersFollowTheShares) {
  const proto::ModelSpec spec = Shapes("Qwen3-30B-A3B");  // 48 layers alike, and small ends
  const auto bounds = DivideLayers(spec, {3, 1});
  EXPECT_NEAR(bounds[1], 36, 1);
  EXPECT_EQ(bounds, (std::vector<uint32_t>{0, bounds[1], 48}));
}

}  // namespace
}  // namespace onecopy::shard
