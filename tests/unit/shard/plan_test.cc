#include "runtime/shard/plan.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "kernels/registry.h"
#include "runtime/base/error.h"
#include "tests/support/model_shapes.h"

namespace onecopy::shard {
namespace {

using kernels::WeightType;
using test::Shapes;

const kernels::KernelTable& Table(const std::string& name) {
  std::string error;
  const kernels::KernelTable* table = kernels::SelectTable(name, &error);
  EXPECT_NE(table, nullptr) << error;
  return *table;
}

// Sizes do not depend on the CPU: the widest row tile that this CPU offers, or ref's.
const kernels::KernelTable& AnyTable() {
  return Table("");
}

// Every element of every weight is in the ranges of exactly one rank, at 32-column edges.
void ExpectOwnedOnce(const proto::ModelSpec& spec, const proto::ShardPlan& plan) {
  const int ranks = static_cast<int>(plan.ranks());
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    if (plan.placements(w).axis() == proto::WeightPlacement::REPLICATED) {
      EXPECT_LE(weight.rows() * weight.cols(), uint64_t{spec.n_heads()} * 256 + spec.hidden_dim())
          << weight.name();
      EXPECT_EQ(weight.rows(), 1u) << weight.name() << ": only vectors are replicated";
      continue;
    }
    const bool by_cols = plan.placements(w).axis() == proto::WeightPlacement::COLS;
    const uint64_t size = by_cols ? weight.cols() : weight.rows();
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      uint64_t next = 0;
      for (int r = 0; r < ranks; ++r) {
        const Range range = OwnedRange(spec, plan, w, e, r);
        ASSERT_EQ(range.begin, next) << weight.name() << " expert " << e << " rank " << r;
        if (by_cols && range.end != size) {
          ASSERT_EQ(range.end % 32, 0u) << weight.name() << " rank " << r;
        }
        next = range.end;
      }
      ASSERT_EQ(next, size) << weight.name() << " expert " << e;
    }
  }
}

double MostLoadedOverMean(const proto::ShardPlan& plan) {
  double most = 0, sum = 0;
  for (const auto& totals : plan.totals()) {
    most = std::max(most, static_cast<double>(totals.weight_bytes()));
    sum += static_cast<double>(totals.weight_bytes());
  }
  return most * plan.ranks() / sum;
}

// Mean over random routings, and over layers, of (most loaded rank) / (mean rank) in a layer's active experts.
double ActiveImbalance(const proto::ModelSpec& spec, const proto::ShardPlan& plan) {
  const int ranks = static_cast<int>(plan.ranks());
  std::mt19937 random(7);
  double sum = 0;
  int n = 0;
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    if (weight.role() != proto::Weight::EXPERT_DOWN || weight.layer() % 8 != 0) continue;
    std::vector<uint32_t> experts(weight.n_experts());
    std::iota(experts.begin(), experts.end(), 0);
    for (int routing = 0; routing < 50; ++routing, ++n) {
      std::shuffle(experts.begin(), experts.end(), random);
      std::vector<double> load(ranks);
      for (uint32_t k = 0; k < spec.n_experts_used(); ++k)
        for (int r = 0; r < ranks; ++r) load[r] += OwnedRange(spec, plan, w, experts[k], r).size();
      const double mean = std::accumulate(load.begin(), load.end(), 0.0) / ranks;
      sum += *std::max_element(load.begin(), load.end()) / mean;
    }
  }
  return sum / n;
}

class PublishedShapes : public ::testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(PublishedShapes, AreOwnedOnceAndBalanced) {
  const auto [name, ranks] = GetParam();
  const proto::ModelSpec spec = Shapes(ONECOPY_TEST_DATA "/model-shapes.json", name, WeightType::kQ4_K);
  const proto::ShardPlan plan = MakeShardPlan(spec, AnyTable(), {.ranks = ranks, .shares = {}});
  ExpectOwnedOnce(spec, plan);
  EXPECT_LE(MostLoadedOverMean(plan), 1.02);
  const double imbalance = ActiveImbalance(spec, plan);
  EXPECT_LE(imbalance, 1.15);
  RecordProperty("most_loaded_over_mean", std::to_string(MostLoadedOverMean(plan)));
  RecordProperty("active_imbalance", std::to_string(imbalance));
  uint64_t sum = 0;
  for (const auto& totals : plan.totals()) sum += totals.weight_bytes() - totals.split_header_bytes();
  EXPECT_EQ(sum, FullCopyBytes(spec, AnyTable())) << "one copy, apart from headers copied at cuts";
}

INSTANTIATE_TEST_SUITE_P(All, PublishedShapes,
                         ::testing::Combine(::testing::Values("Qwen3-30B-A3B", "Qwen3-235B-A22B",
                                                              "DeepSeek-V3", "Mixtral-8x7B"),
                                            ::testing::Values(1, 2, 3, 4, 6, 8, 12, 24)));

TEST(ShardPlan, AnyRankCountFrom1To64WorksForASmallModel) {
  // 8 heads, 2 KV heads and 16 column groups: fewer than ranks.
  const proto::ModelSpec spec = test::SmallModel(WeightType::kQ8_0);
  for (int ranks = 1; ranks <= 64; ++ranks) {
    const proto::ShardPlan plan = MakeShardPlan(spec, AnyTable(), {.ranks = ranks, .shares = {}});
    ExpectOwnedOnce(spec, plan);
    for (uint32_t l = 0; l < spec.n_layers(); ++l)
      for (int r = 0; r < ranks; ++r)
        ASSERT_EQ(OwnedHeads(plan, l, r).size() > 0, OwnedKvHeads(spec, plan, l, r).size() > 0);
  }
}

TEST(ShardPlan, IsAPureFunction) {
  const proto::ModelSpec spec = test::SmallModel(WeightType::kQ4_K);
  const auto a = MakeShardPlan(spec, AnyTable(), {.ranks = 5, .shares = {}});
  const auto b = MakeShardPlan(spec, AnyTable(), {.ranks = 5, .shares = {}});
  EXPECT_EQ(a.SerializeAsString(), b.SerializeAsString());
}

TEST(ShardPlan, SharesWeighTheRanks) {
  const proto::ModelSpec spec =
      Shapes(ONECOPY_TEST_DATA "/model-shapes.json", "Qwen3-30B-A3B", WeightType::kQ8_0);
  const proto::ShardPlan plan = MakeShardPlan(spec, AnyTable(), {.ranks = 3, .shares = {2, 1, 1}});
  ExpectOwnedOnce(spec, plan);
  const double total = static_cast<double>(plan.weight_bytes());
  EXPECT_NEAR(static_cast<double>(plan.totals(0).weight_bytes()) / total, 0.5, 0.01);
  EXPECT_NEAR(static_cast<double>(plan.totals(2).weight_bytes()) / total, 0.25, 0.01);
}

TEST(ShardPlan, NoRanksIsAUsageError) {
  EXPECT_THROW(MakeShardPlan(test::SmallModel(WeightType::kF32), AnyTable(), {.ranks = 0, .shares = {}}),
               Error);
}

}  // namespace
}  // namespace onecopy::shard
