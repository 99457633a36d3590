#include "runtime/shard/predict.h"

#include <gtest/gtest.h>

#include <functional>

#include "kernels/registry.h"
#include "runtime/shard/balance.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/traffic.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::shard {
namespace {

using kernels::WeightType;

proto::ModelSpec Qwen() {
  return test::Shapes(std::string(ONECOPY_TEST_DATA) + "/model-shapes.json", "Qwen3-30B-A3B",
                      WeightType::kQ4_K);
}

// Cores without limits: only what a test sets counts.
MachineModel Machine(int ranks, double bandwidth, int threads = 4) {
  MachineModel machine;
  machine.ranks.assign(ranks, {.read_bandwidth = bandwidth, .threads = threads});
  for (auto& of_type : machine.matmul)
    for (MatmulRate& rate : of_type) rate.points = {{1, 1e18}};
  machine.copy_bandwidth = 1e18;
  return machine;
}

MachineModel Realistic(int ranks) {
  MachineModel machine = Machine(ranks, 50e9, 8);
  for (auto& of_type : machine.matmul)
    for (MatmulRate& rate : of_type) rate.points = {{1, 30e9}, {8, 60e9}, {64, 60e9}};
  machine.vectors = {0.1e-9, 0.3e-9, 0.5e-9, 0.6e-9, 0.4e-9, 0.06e-9};
  machine.core_read_bandwidth = 20e9;
  machine.sync_seconds = 3e-6;
  machine.copy_bandwidth = 8e9;
  for (RankMachine& rank : machine.ranks) rank.region_seconds = 2e-6;
  return machine;
}

Prediction PredictOn(const proto::ModelSpec& spec, const MachineModel& machine,
                     std::vector<double> shares = {}, uint32_t depth = 0) {
  const auto plan = MakeShardPlan(
      spec, test::AnyTable(), {.ranks = static_cast<int>(machine.ranks.size()), .shares = std::move(shares)});
  return Predict(spec, plan, test::AnyTable(), machine, depth);
}

// With nothing but memory to wait for, a token takes its bytes over the bandwidth.
TEST(Predict, DecodeOfOneRankIsBytesOverBandwidth) {
  for (const auto& spec : {test::SmallModel(WeightType::kQ8_0), Qwen()}) {
    const auto plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 1, .shares = {}});
    const TokenCost cost = CostOfToken(spec, plan, test::AnyTable());
    const double embedding_row =
        static_cast<double>(kernels::PackedBytes(ShardShape(spec, plan, test::AnyTable(), 0, 0, 0))) /
        spec.vocab_size();
    const double bandwidth = 10e9;
    // The token's own key and value are read too.
    const double bytes = cost.weight_bytes - embedding_row + cost.kv_bytes_per_position;
    const Prediction p = Predict(spec, plan, test::AnyTable(), Machine(1, bandwidth), 0);
    EXPECT_NEAR(p.decode.Total(), bytes / bandwidth, 1e-3 * bytes / bandwidth);
    const Prediction deep = Predict(spec, plan, test::AnyTable(), Machine(1, bandwidth), 1000);
    EXPECT_NEAR(deep.decode.Total() - p.decode.Total(), 1000 * cost.kv_bytes_per_position / bandwidth, 1e-9);
  }
}

// With nothing but arithmetic to do, a chunk takes its multiply-adds over the rate of all threads.
TEST(Predict, PrefillOfOneRankIsArithmeticOverRate) {
  const auto spec = Qwen();
  const auto plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 1, .shares = {}});
  MachineModel machine = Machine(1, 1e18, 4);
  constexpr double kRate = 50e9;
  for (auto& of_type : machine.matmul)
    for (MatmulRate& rate : of_type) rate.points = {{1, kRate}};
  const double head = double(spec.vocab_size()) * spec.hidden_dim();
  const double ops = 512 * (CostOfToken(spec, plan, test::AnyTable()).multiply_adds - head) + head;
  const Prediction p = Predict(spec, plan, test::AnyTable(), machine, 0);
  EXPECT_NEAR(p.prefill.weights, ops / (4 * kRate), 0.01 * ops / (4 * kRate));
}

TEST(Predict, BetterMachinesAreNeverSlower) {
  const auto spec = Qwen();
  const std::function<void(MachineModel*)> improvements[] = {
      [](MachineModel* m) {
        for (auto& r : m->ranks) r.read_bandwidth *= 1.5;
      },
      [](MachineModel* m) {
        for (auto& r : m->ranks) r.threads *= 2;
      },
      [](MachineModel* m) {
        for (auto& r : m->ranks) r.region_seconds /= 2;
      },
      [](MachineModel* m) {
        for (auto& t : m->matmul)
          for (auto& k : t)
            for (auto& p : k.points) p.rate *= 2;
      },
      [](MachineModel* m) { m->sync_seconds /= 2; },
      [](MachineModel* m) { m->copy_bandwidth *= 2; },
      [](MachineModel* m) { m->core_read_bandwidth *= 2; },
      [](MachineModel* m) { m->vectors = {}; },
  };
  for (const int ranks : {1, 2, 8}) {
    const Prediction before = PredictOn(spec, Realistic(ranks), {}, 100);
    size_t better = 0;
    for (const auto& improve : improvements) {
      MachineModel machine = Realistic(ranks);
      improve(&machine);
      const Prediction after = PredictOn(spec, machine, {}, 100);
      EXPECT_GE(after.decode_tokens_per_second, before.decode_tokens_per_second * (1 - 1e-9));
      EXPECT_GE(after.prefill_tokens_per_second, before.prefill_tokens_per_second * (1 - 1e-9));
      better += after.decode_tokens_per_second > before.decode_tokens_per_second ||
                after.prefill_tokens_per_second > before.prefill_tokens_per_second;
    }
    EXPECT_GE(better, ranks == 1 ? 4u : 6u) << "hardly anything counts at " << ranks << " ranks";
  }
}

TEST(Predict, SlowNodeGovernsUntilSharesFollowBandwidth) {
  const auto spec = Qwen();
  MachineModel machine = Machine(4, 100e9);
  const Prediction alike = PredictOn(spec, machine);
  machine.ranks[2].read_bandwidth = 25e9;
  const Prediction even = PredictOn(spec, machine);
  EXPECT_NEAR(even.decode_tokens_per_second / alike.decode_tokens_per_second, 0.25, 0.02);
  std::vector<RankMeans> means;
  for (const RankMachine& rank : machine.ranks) means.push_back({0, rank.read_bandwidth});
  const Prediction balanced = PredictOn(spec, machine, SharesOf(Balance::kBandwidth, means, 0));
  // All of the bandwidth, 325 of 400 GB/s, but for what cuts at 32 columns leave uneven.
  EXPECT_GT(balanced.decode_tokens_per_second / alike.decode_tokens_per_second, 0.85 * 325 / 400);
  EXPECT_LE(balanced.decode_tokens_per_second / alike.decode_tokens_per_second, 325.0 / 400 + 1e-9);
}

TEST(Predict, RanksThatShareCoresShareTheirTime) {
  const auto spec = Qwen();
  MachineModel machine = Realistic(4);
  for (RankMachine& rank : machine.ranks) rank.threads = 1;
  const Prediction own = PredictOn(spec, machine);
  for (RankMachine& rank : machine.ranks) rank.core_share = 0.5;
  const Prediction shared = PredictOn(spec, machine);
  EXPECT_NEAR(shared.prefill.weights / own.prefill.weights, 2, 0.01);
}

TEST(Predict, DecodeIsNeverFasterThanTheKernelsFromMemory) {
  const auto spec = Qwen();
  MachineModel machine = Machine(1, 1e18, 2);
  constexpr double kFromMemory = 5e9;  // multiply-adds a second of one thread
  for (auto& of_type : machine.matmul)
    for (MatmulRate& rate : of_type) rate.from_memory = kFromMemory;
  const auto plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 1, .shares = {}});
  const double ops = CostOfToken(spec, plan, test::AnyTable()).multiply_adds;
  EXPECT_NEAR(Predict(spec, plan, test::AnyTable(), machine, 0).decode.weights, ops / (2 * kFromMemory),
              0.02 * ops / (2 * kFromMemory));
}

TEST(Predict, JumpsCountOnlyWhereMemoryIsNotSaturated) {
  const auto spec = Qwen();
  MachineModel machine = Machine(1, 1e18, 4);
  machine.core_read_bandwidth = 10e9;
  const double without = PredictOn(spec, machine).decode.Total();
  machine.jump_seconds = 1e-6;
  EXPECT_GT(PredictOn(spec, machine).decode.Total(), 1.02 * without);
  machine.ranks[0].read_bandwidth = 10e9;  // four threads could read four times that
  const double saturated = PredictOn(spec, machine).decode.Total();
  machine.jump_seconds = 0;
  EXPECT_NEAR(PredictOn(spec, machine).decode.Total(), saturated, 0.02 * saturated);
}

TEST(Predict, RatesBetweenPointsLieBetweenThem) {
  const MatmulRate rate{{{1, 10}, {8, 40}, {64, 60}}, 0};
  EXPECT_EQ(rate.RateAt(0.5), 10);
  EXPECT_EQ(rate.RateAt(8), 40);
  EXPECT_EQ(rate.RateAt(1000), 60);
  EXPECT_DOUBLE_EQ(rate.RateAt(std::sqrt(8.0)), 25);
}

TEST(Predict, SlidingLayersReadNoMoreThanTheirWindow) {
  auto spec = test::SmallModel(WeightType::kQ8_0);
  const MachineModel machine = Machine(1, 1e9);
  const double all = PredictOn(spec, machine, {}, 10000).decode.attention;
  spec.set_sliding_window(100);
  for (uint32_t l = 0; l < 2; ++l) spec.add_sliding_layers(l);
  const double half = PredictOn(spec, machine, {}, 10000).decode.attention;
  EXPECT_NEAR(half / all, 0.5, 0.01);
}

// Shapes with everything that the planner knows: no rate may be missing, no layer counted twice.
TEST(Predict, EveryPublishedShapeGivesAFiniteTime) {
  for (const char* name : {"DeepSeek-V3", "gpt-oss-120b", "GLM-4.5", "Mixtral-8x7B", "Qwen3-235B-A22B"}) {
    const auto spec =
        test::Shapes(std::string(ONECOPY_TEST_DATA) + "/model-shapes.json", name, WeightType::kQ4_K);
    for (const int ranks : {1, 24}) {
      const Prediction p = PredictOn(spec, Realistic(ranks), {}, 1000);
      EXPECT_GT(p.decode_tokens_per_second, 0.1) << name;
      EXPECT_LT(p.decode_tokens_per_second, 1000) << name;
      EXPECT_GT(p.prefill_tokens_per_second, p.decode_tokens_per_second) << name;
      EXPECT_EQ(p.decode.collectives > 0, ranks > 1) << name;
    }
  }
}

}  // namespace
}  // namespace onecopy::shard
