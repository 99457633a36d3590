// Counts against the sums that the shapes give.

#include "runtime/exec/step_counts.h"

#include <gtest/gtest.h>

#include "runtime/shard/plan.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::exec {
namespace {

// SmallModel: 4 layers, the first dense; hidden 256, 8 heads of 64 over 2 KV heads, 8 experts of 512.
constexpr uint64_t kAttention = 4ull * (512 * 256 + 2 * 128 * 256 + 256 * 512);
constexpr uint64_t kEveryToken = kAttention + 3 * 768 * 256 + 3 * 8 * 256;
constexpr uint64_t kExpert = 3 * 512 * 256;
constexpr uint64_t kLogits = 4096 * 256;
constexpr uint64_t kAttendPosition = 4ull * 2 * 8 * 64;  // scores and values, all layers and heads
constexpr uint64_t kKvPosition = 4ull * 2 * 2 * 64;      // elements

proto::Step StepOf(const std::vector<std::pair<uint32_t, uint32_t>>& slots_and_positions, uint32_t logits) {
  proto::Step step;
  for (const auto& [slot, position] : slots_and_positions) {
    step.add_tokens(1);
    step.add_slots(slot);
    step.add_positions(position);
  }
  for (uint32_t i = 0; i < logits; ++i) step.add_logit_rows(i);
  return step;
}

// Of all ranks together.
StepCounts Count(int ranks, const proto::Step& step, const Routing& routing) {
  const kernels::KernelTable& table = test::RefTable();
  const auto spec = test::SmallModel(kernels::WeightType::kQ8_0);
  const auto plan = shard::MakeShardPlan(spec, table, {.ranks = ranks, .shares = {}});
  StepCounts sum;
  for (int rank = 0; rank < ranks; ++rank) {
    numa::ArenaSource memory;
    const shard::WeightStore store(spec, plan, table, rank, &memory);
    const KvCache cache(spec, plan, table, rank, &memory, 256, 2);
    StepCounter counter(spec, plan, store, table, cache, rank);
    counter.Begin(StepOf({{1, 200}}, 1));  // nothing of an earlier step stays
    counter.CountExperts(2, routing);
    counter.Begin(step);
    counter.CountExperts(3, routing);
    sum += counter.counts();
  }
  return sum;
}

TEST(StepCounts, ArithmeticIsWhatTheShapesGiveAtAnyNumberOfRanks) {
  Routing routing;
  routing.groups = {{1, 0, 1}, {4, 1, 3}};
  const proto::Step step = StepOf({{0, 9}, {0, 10}, {1, 99}}, 2);
  const uint64_t want = 3 * kEveryToken + 3 * kExpert + 2 * kLogits + (10 + 11 + 100) * kAttendPosition;
  for (int ranks : {1, 2, 3}) EXPECT_EQ(Count(ranks, step, routing).multiply_adds, want) << ranks << " ranks";
}

TEST(StepCounts, WhatSeveralTokensShareIsReadOnce) {
  Routing one, shared;
  one.groups = {{5, 0, 1}};
  shared.groups = {{5, 0, 40}};
  const StepCounts a = Count(1, StepOf({{0, 20}}, 1), one);
  const StepCounts b = Count(1, StepOf({{0, 20}, {0, 19}, {0, 3}}, 3), shared);
  EXPECT_EQ(a.weight_bytes, b.weight_bytes);
  EXPECT_EQ(a.kv_bytes, b.kv_bytes);
  EXPECT_EQ(b.experts, 1u);
  EXPECT_EQ(b.expert_uses, 40u);
  // Q8_0: 34 bytes for 32 weights, in the file as packed; the router has floats. The KV cache of ref has floats too.
  const uint64_t router = 3 * 8 * 256;
  EXPECT_EQ(a.weight_bytes, (kEveryToken - router + kExpert + kLogits) / 32 * 34 + 4 * router);
  EXPECT_EQ(a.kv_bytes, 21 * kKvPosition * 4);
}

TEST(StepCounts, WithoutLogitsTheHeadIsNotRead) {
  const StepCounts with = Count(1, StepOf({{0, 5}}, 1), {}), without = Count(1, StepOf({{0, 5}}, 0), {});
  EXPECT_EQ(with.weight_bytes - without.weight_bytes, kLogits / 32 * 34);
  EXPECT_EQ(with.multiply_adds - without.multiply_adds, kLogits);
}

}  // namespace
}  // namespace onecopy::exec
