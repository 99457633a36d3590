// The two forms of latent attention against sums over tokens and positions, and where each is taken.
#include "runtime/shard/latent_forms.h"

#include <gtest/gtest.h>

#include "runtime/shard/plan.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::shard {
namespace {

// DeepSeek-V2-Lite's and V3's heads, of 16.
proto::ModelSpec Spec() {
  proto::ModelSpec spec;
  spec.set_n_layers(2);
  spec.set_n_heads(16);
  spec.set_n_kv_heads(1);
  spec.set_kv_lora_rank(512);
  spec.set_qk_nope_head_dim(128);
  spec.set_qk_rope_head_dim(64);
  spec.set_v_head_dim(128);
  return spec;
}

TEST(LatentForms, CountsAreThoseOfEachTokenAndPosition) {
  for (const Chunk& chunk : {Chunk{1, 0}, Chunk{7, 0}, Chunk{1, 9}, Chunk{5, 100}}) {
    uint64_t absorbed = 0, expanded = 0;
    for (uint64_t p = 0; p < chunk.position + chunk.tokens; ++p) expanded += 512 * (128 + 128);
    for (uint64_t t = 0; t < chunk.tokens; ++t) {
      absorbed += 512 * (128 + 128);
      for (uint64_t p = 0; p <= chunk.position + t; ++p) {
        absorbed += 512 + 64 + 512;
        expanded += 128 + 64 + 128;
      }
    }
    EXPECT_EQ(AbsorbedMultiplyAdds(Spec(), chunk), absorbed);
    EXPECT_EQ(ExpandedMultiplyAdds(Spec(), chunk), expanded);
  }
}

TEST(LatentForms, ManyTokensAreExpandedAndFewAtADepthAreNot) {
  proto::ModelSpec spec = Spec();
  proto::ShardPlan plan;
  plan.set_mla_cache(proto::ShardPlan::REPLICATED);
  for (const uint64_t position : {0, 2048, 8192, 100'000})
    EXPECT_TRUE(IsExpanded(spec, plan, {512, position})) << position;
  for (const uint64_t position : {512, 8192, 100'000}) {
    EXPECT_FALSE(IsExpanded(spec, plan, {1, position})) << position;
    EXPECT_FALSE(IsExpanded(spec, plan, {64, position})) << position;
  }
  EXPECT_TRUE(IsExpanded(spec, plan, {20, 0}));
  // What is made of a transposed projection pays from some tokens on only.
  spec.add_weights()->set_role(proto::Weight::ATTN_K_B);
  EXPECT_FALSE(IsExpanded(spec, plan, {20, 0}));
  EXPECT_TRUE(IsExpanded(spec, plan, {200, 0}));
  plan.set_mla_cache(proto::ShardPlan::BY_POSITION);
  EXPECT_FALSE(IsExpanded(spec, plan, {512, 0}));
  spec.set_kv_lora_rank(0);
  plan.set_mla_cache(proto::ShardPlan::NONE);
  EXPECT_FALSE(IsExpanded(spec, plan, {512, 0}));
}

}  // namespace
}  // namespace onecopy::shard
