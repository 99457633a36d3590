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
StepCounts Count(int ranks, const proto::Step& step, const Routing& routing,
                 const proto::ModelSpec& spec = test::SmallModel(kernels::WeightType::kQ8_0),
                 const shard::Chunk& expanded = {0, 0}) {
  const kernels::KernelTable& table = test::RefTable();
  const auto plan = shard::MakeShardPlan(spec, table, {.ranks = ranks, .shares = {}});
  StepCounts sum;
  for (int rank = 0; rank < ranks; ++rank) {
    numa::ArenaSource memory;
    const shard::WeightStore store(spec, plan, table, rank, &memory);
    const KvCache cache(spec, plan, table, rank, &memory, 256, 2);
    StepCounter counter(spec, plan, store, table, cache, rank);
    counter.Begin(StepOf({{1, 200}}, 1));  // nothing of an earlier step stays
    counter.CountExperts(2, routing);
    counter.Begin(step, expanded);
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

// The window is on 3 of 4 layers.
TEST(StepCounts, WhatAWindowHidesIsNotCounted) {
  proto::ModelSpec spec = test::SmallModel(kernels::WeightType::kQ8_0);
  spec.set_sliding_window(64);
  for (const uint32_t layer : {0, 1, 3}) spec.add_sliding_layers(layer);
  const StepCounts full = Count(1, StepOf({{0, 9}, {1, 199}, {1, 200}}, 0), {}),
                   near = Count(1, StepOf({{0, 9}, {1, 199}, {1, 200}}, 0), {}, spec);
  EXPECT_EQ(full.kv_bytes, (10 + 201) * kKvPosition * 4);
  EXPECT_EQ(near.kv_bytes, ((10 + 201) + 3 * (10 + 65)) * kKvPosition);
  EXPECT_EQ(full.multiply_adds - near.multiply_adds, (200 + 201 - 2 * 64) * kAttendPosition / 4 * 3);
  spec.clear_sliding_window();
  spec.set_attention_chunk(128);
  const StepCounts chunk = Count(1, StepOf({{0, 9}, {1, 199}, {1, 200}}, 0), {}, spec);
  EXPECT_EQ(chunk.kv_bytes, ((10 + 201) + 3 * (10 + 201 - 128)) * kKvPosition);
}

// 2 dense layers of latent attention: hidden 128, 5 heads of 64 + 32 with values of 32, latents of 96.
constexpr uint64_t kHidden = 128, kHeads = 5, kNope = 64, kRope = 32, kValue = 32, kLatent = 96, kLayers = 2;

proto::ModelSpec LatentModel() {
  using proto::Weight;
  test::SpecBuilder b(kernels::WeightType::kF16);
  b.spec.set_hidden_dim(kHidden);
  b.spec.set_n_layers(kLayers);
  b.spec.set_n_heads(kHeads);
  b.spec.set_n_kv_heads(1);
  b.spec.set_head_dim(kNope + kRope);
  b.spec.set_kv_lora_rank(kLatent);
  b.spec.set_qk_nope_head_dim(kNope);
  b.spec.set_qk_rope_head_dim(kRope);
  b.spec.set_v_head_dim(kValue);
  b.spec.set_intermediate_dim(96);
  b.spec.set_vocab_size(256);
  b.Matrix(Weight::TOKEN_EMBEDDING, 0, 256, kHidden);
  b.Matrix(Weight::LM_HEAD, 0, 256, kHidden);
  b.Vector(Weight::OUTPUT_NORM, 0, kHidden);
  for (uint32_t l = 0; l < kLayers; ++l) {
    b.spec.add_dense_layers(l);
    b.Vector(Weight::ATTN_NORM, l, kHidden);
    b.Vector(Weight::FFN_NORM, l, kHidden);
    b.Vector(Weight::ATTN_KV_A_NORM, l, kLatent);
    b.Matrix(Weight::ATTN_Q, l, kHeads * (kNope + kRope), kHidden);
    b.Matrix(Weight::ATTN_KV_A, l, kLatent + kRope, kHidden);
    b.Matrix(Weight::ATTN_KV_B, l, kHeads * (kNope + kValue), kLatent);
    b.Matrix(Weight::ATTN_O, l, kHidden, kHeads * kValue);
    b.Matrix(Weight::DENSE_GATE, l, 96, kHidden);
    b.Matrix(Weight::DENSE_UP, l, 96, kHidden);
    b.Matrix(Weight::DENSE_DOWN, l, kHidden, 96);
  }
  return b.spec;
}

// Multiply-adds of a chunk, each sum by itself: what every token is multiplied with, and attention.
uint64_t CountedOneByOne(const shard::Chunk& chunk, bool expanded) {
  const uint64_t end = chunk.position + chunk.tokens;
  uint64_t sum = 0;
  for (uint64_t l = 0; l < kLayers; ++l) {
    for (uint64_t t = 0; t < chunk.tokens; ++t)
      sum += kHeads * (kNope + kRope) * kHidden + (kLatent + kRope) * kHidden + kHidden * kHeads * kValue +
             uint64_t{3} * 96 * kHidden;
    for (uint64_t h = 0; h < kHeads; ++h) {
      // Expanded: a key and a value of every position; absorbed: the query into the latents' space, the sum out of it.
      for (uint64_t p = expanded ? 0 : chunk.position; p < end; ++p)
        sum += kNope * kLatent + kValue * kLatent;
      for (uint64_t t = chunk.position; t < end; ++t)
        for (uint64_t p = 0; p <= t; ++p)
          sum += expanded ? kNope + kRope + kValue : (kLatent + kRope) + kLatent;
    }
  }
  return sum;
}

TEST(StepCounts, LatentAttentionIsCountedInTheFormItTakes) {
  const proto::ModelSpec spec = LatentModel();
  for (const shard::Chunk& chunk :
       {shard::Chunk{1, 0}, shard::Chunk{7, 0}, shard::Chunk{65, 63}, shard::Chunk{3, 190}}) {
    std::vector<std::pair<uint32_t, uint32_t>> tokens;
    for (uint64_t t = 0; t < chunk.tokens; ++t)
      tokens.emplace_back(1, static_cast<uint32_t>(chunk.position + t));
    const proto::Step step = StepOf(tokens, 0);
    for (const int ranks : {1, 2, 3}) {
      SCOPED_TRACE(::testing::Message()
                   << chunk.tokens << " tokens at " << chunk.position << ", " << ranks << " ranks");
      const StepCounts absorbed = Count(ranks, step, {}, spec),
                       expanded = Count(ranks, step, {}, spec, chunk);
      EXPECT_EQ(absorbed.multiply_adds, CountedOneByOne(chunk, false));
      EXPECT_EQ(expanded.multiply_adds, CountedOneByOne(chunk, true));
      // Either form reads weights and latents once, which every rank has; ref's cache has floats.
      EXPECT_EQ(expanded.weight_bytes, absorbed.weight_bytes);
      const uint64_t latents = (chunk.position + chunk.tokens) * kLayers * (kLatent + kRope) * sizeof(float);
      EXPECT_EQ(absorbed.kv_bytes, ranks * latents);
      EXPECT_EQ(expanded.kv_bytes, ranks * latents);
    }
  }
}

}  // namespace
}  // namespace onecopy::exec
