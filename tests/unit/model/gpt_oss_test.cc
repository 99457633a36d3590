// gpt-oss, from headers with the names of published files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/support/sparse_model.h"
#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;
using proto::ModelSpec;
using proto::Weight;

Checkpoint OpenHeaders() {
  const TempDir dir;
  EXPECT_TRUE(test::WriteModelHeaders("gpt-oss-120b", dir / "m.gguf"));
  return OpenCheckpoint(dir / "m.gguf", Data::kMayBeAbsent);
}

TEST(GptOss, HasTheParametersOfItsConfig) {
  const ModelSpec spec = BuildModelSpec(OpenHeaders());
  EXPECT_EQ(spec.family(), "gpt-oss");
  EXPECT_EQ(spec.hidden_dim(), 2880u);
  EXPECT_EQ(spec.n_heads(), 64u);
  EXPECT_EQ(spec.n_kv_heads(), 8u);
  EXPECT_EQ(spec.head_dim(), 64u);
  EXPECT_EQ(spec.vocab_size(), 201088u) << "the file has no vocab_size: rows of the embedding";
  EXPECT_EQ(spec.n_experts(), 128u);
  EXPECT_EQ(spec.n_experts_used(), 4u);
  EXPECT_EQ(spec.moe_intermediate_dim(), 2880u);
  EXPECT_EQ(spec.sliding_window(), 128u);
  ASSERT_EQ(spec.sliding_layers_size(), 18);
  for (int i = 0; i < 18; ++i) EXPECT_EQ(spec.sliding_layers(i), static_cast<uint32_t>(2 * i));
  EXPECT_EQ(spec.activation(), ModelSpec::CLAMPED_SWIGLU);
  EXPECT_EQ(spec.swiglu_limit(), 7.0f);
  EXPECT_EQ(spec.gating(), ModelSpec::SOFTMAX);
  EXPECT_TRUE(spec.norm_topk_prob());
  EXPECT_EQ(spec.rope_theta(), 150000.0f);
  EXPECT_FALSE(spec.rope_scaling().truncate());
  EXPECT_NEAR(spec.rope_scaling().attention_factor(), 0.1 * std::log(32.0) + 1, 1e-6);
  EXPECT_FLOAT_EQ(spec.rope_scaling().softmax_factor(), 1.0f);
}

TEST(GptOss, BindsEveryTensor) {
  const Checkpoint checkpoint = OpenHeaders();
  const ModelSpec spec = BuildModelSpec(checkpoint);
  EXPECT_EQ(static_cast<size_t>(spec.weights_size()), checkpoint.tensors.size());
  for (const Weight& weight : spec.weights()) {
    const RoleShape shape = ShapeOfRole(spec, weight.role());
    EXPECT_EQ(weight.rows(), shape.rows) << weight.name();
    EXPECT_EQ(weight.cols(), shape.cols) << weight.name();
    EXPECT_EQ(weight.n_experts(), IsExpertRole(weight.role()) ? 128u : 0u) << weight.name();
    if (IsExpertRole(weight.role()) && !IsVectorRole(weight.role())) {
      EXPECT_EQ(weight.type(), static_cast<uint32_t>(kernels::WeightType::kMXFP4)) << weight.name();
    }
  }
}

TEST(GptOss, MissingAndMisshapenTensorsAreNamed) {
  Checkpoint checkpoint = OpenHeaders();
  checkpoint.index.erase("blk.3.attn_sinks.weight");
  checkpoint.index.erase("blk.0.attn_k.bias");
  checkpoint.tensors[checkpoint.index.at("blk.4.ffn_down_exps.bias")].shape = {2880, 128};
  checkpoint.tensors[checkpoint.index.at("blk.5.ffn_gate_inp.bias")].shape = {64};
  ExpectBadInput([&] { BuildModelSpec(checkpoint); },
                 {"2 tensors are missing: ", "blk.3.attn_sinks.weight", "blk.0.attn_k.bias",
                  "blk.4.ffn_down_exps.bias is [2880, 128], expected [128, 2880]",
                  "blk.5.ffn_gate_inp.bias is [64], expected [128]"});
}

TEST(GptOss, AnotherPatternOfWindowsIsRefused) {
  Checkpoint checkpoint = OpenHeaders();
  checkpoint.metadata["gpt-oss.attention.sliding_window_pattern"] = 4;
  ExpectBadInput([&] { BuildModelSpec(checkpoint); }, {"gpt-oss.attention.sliding_window_pattern"});
}

TEST(GptOss, DirectoriesAreRefusedByName) {
  const TempDir dir;
  SafetensorsWriter weights;
  weights.Add("model.norm.weight", "BF16", {64});
  WriteDirectory(dir, {{"model_type", "gpt_oss"}}, weights.Build());
  ExpectBadInput([&] { Load(dir.path()); }, {"gpt_oss", "MXFP4", "use a GGUF file"});
}

}  // namespace
}  // namespace onecopy
