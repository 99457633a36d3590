// What an exchange costs, and when a pipeline over hosts pays.
#include "runtime/shard/exchange_time.h"

#include <gtest/gtest.h>

#include "runtime/shard/plan.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::shard {
namespace {

MachineModel Costs() {
  MachineModel machine;
  machine.sync_seconds = 1e-6;
  machine.copy_bandwidth = 1e9;
  return machine;
}

TEST(ExchangeTime, IsRoundsAndBytesOnOneHost) {
  const MachineModel machine = Costs();
  EXPECT_EQ(AllReduceSeconds(machine, {1}, 1 << 20), 0);
  EXPECT_DOUBLE_EQ(AllReduceSeconds(machine, {2}, 16384), 1e-6 + 3 * 16384e-9);      // own in, both out
  EXPECT_DOUBLE_EQ(AllReduceSeconds(machine, {2}, 4 << 20), 1e-6 + 3 * 4194304e-9);  // pieces flow
  EXPECT_DOUBLE_EQ(GatherSeconds(machine, {2}, 16384), 1e-6 + 16384e-9);
  EXPECT_DOUBLE_EQ(AllReduceSeconds(machine, {8}, 65536), 2e-6 + 3 * 65536e-9);  // each sums a slice
}

TEST(ExchangeTime, OverHostsAddsTheLinkOncePerExchange) {
  MachineModel machine = Costs();
  machine.link_bandwidth = 1e15;
  const double near = AllReduceSeconds(machine, {4, 2}, 16384);
  machine.link_seconds = 50e-6;
  EXPECT_NEAR(AllReduceSeconds(machine, {4, 2}, 16384) - near, 50e-6, 1e-12);
  machine.link_bandwidth = 1e9;
  EXPECT_NEAR(AllReduceSeconds(machine, {4, 2}, 16384) - near, 50e-6 + 16384e-9, 1e-9);
}

// Two hosts of one rank each, one token.
StepTime Decode(const MachineModel& machine, int stages) {
  const auto spec =
      test::Shapes(ONECOPY_TEST_DATA "/model-shapes.json", "Qwen3-30B-A3B", kernels::WeightType::kQ4_K);
  PlanOptions options{.ranks = 2};
  if (stages == 2) options.stage_ranks = {0, 1, 2};
  return PredictStep(spec, MakeShardPlan(spec, test::AnyTable(), options), test::AnyTable(), machine,
                     {1, 0, 1});
}

TEST(ExchangeTime, APipelinePaysWhereTheLinkIsSlow) {
  MachineModel machine = Costs();
  machine.ranks.assign(2, {.read_bandwidth = 100e9, .threads = 8});
  for (auto& of_type : machine.matmul)
    for (MatmulRate& rate : of_type) rate.points = {{1, 1e18}};
  machine.host_of_rank = {0, 1};
  machine.link_bandwidth = 10e9;
  machine.link_seconds = 1e-6;
  EXPECT_LT(Decode(machine, 1).Total(), Decode(machine, 2).Total()) << "both hosts read at the same time";
  machine.link_seconds = 2e-3;
  EXPECT_GT(Decode(machine, 1).Total(), 3 * Decode(machine, 2).Total())
      << "four exchanges in each of 48 layers";
  // One stage after the other reads what two ranks read at once, and hands over three times at most: the step to all,
  // the activations, the logits back.
  EXPECT_NEAR(Decode(machine, 2).weights, 2 * Decode(machine, 1).weights, 0.05 * Decode(machine, 2).weights);
  EXPECT_LT(Decode(machine, 2).collectives, 5 * 2e-3);
  EXPECT_GT(Decode(machine, 1).collectives, 4 * 48 * 2e-3);
}

}  // namespace
}  // namespace onecopy::shard
