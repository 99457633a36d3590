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

Checkpoint OpenGptOss() {
  const TempDir dir;
  EXPECT_TRUE(test::WriteModelHeaders("gpt-oss-120b", dir / "m.gguf"));
  return OpenCheckpoint(dir / "m.gguf", Data::kMayBeAbsent);
}

TEST(GptOss, HasTheParametersOfItsConfig) {
  const ModelSpec spec = BuildModelSpec(OpenGptOss());
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
  const Checkpoint checkpoint = OpenGptOss();
  const ModelSpec spec = BuildModelSpec(checkpoint);
  EXPECT_EQ(static_cast<size_t>(spec.weights_size()), checkpoint.tensors.size());
  for (const Weight& weight : spec.weights()) {
    const RoleShape shape = ShapeOfRole(spec, weight.role(), weight.layer());
    EXPECT_EQ(weight.rows(), shape.rows) << weight.name();
    EXPECT_EQ(weight.cols(), shape.cols) << weight.name();
    EXPECT_EQ(weight.n_experts(), IsExpertRole(weight.role()) ? 128u : 0u) << weight.name();
    if (IsExpertRole(weight.role()) && !IsVectorRole(weight.role())) {
      EXPECT_EQ(weight.type(), static_cast<uint32_t>(kernels::WeightType::kMXFP4)) << weight.name();
    }
  }
}

TEST(GptOss, MissingAndMisshapenTensorsAreNamed) {
  Checkpoint checkpoint = OpenGptOss();
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
  Checkpoint checkpoint = OpenGptOss();
  checkpoint.metadata["gpt-oss.attention.sliding_window_pattern"] = 4;
  ExpectBadInput([&] { BuildModelSpec(checkpoint); }, {"gpt-oss.attention.sliding_window_pattern"});
}

// A directory as published, in small.
struct Directory {
  nlohmann::json config = {
      {"model_type", "gpt_oss"},
      {"hidden_size", 64},
      {"num_hidden_layers", 2},
      {"vocab_size", 96},
      {"max_position_embeddings", 4096},
      {"rms_norm_eps", 1e-5},
      {"intermediate_size", 96},
      {"num_attention_heads", 4},
      {"num_key_value_heads", 2},
      {"head_dim", 32},
      {"num_local_experts", 3},
      {"num_experts_per_tok", 2},
      {"sliding_window", 128},
      {"layer_types", {"sliding_attention", "full_attention"}},
      {"swiglu_limit", 6.5},
      {"rope_theta", 150000.0},
      {"rope_scaling",
       {{"rope_type", "yarn"},
        {"factor", 32.0},
        {"truncate", false},
        {"original_max_position_embeddings", 128}}},
      {"quantization_config", {{"quant_method", "mxfp4"}, {"modules_to_not_convert", {"lm_head"}}}}};
  SafetensorsWriter weights;

  Directory() {
    weights.Add("model.embed_tokens.weight", "BF16", {96, 64}).Add("lm_head.weight", "BF16", {96, 64});
    weights.Add("model.norm.weight", "BF16", {64});
    for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
      for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
        weights.Add(layer + norm + ".weight", "BF16", {64});
      for (const auto& [name, rows, cols] : {std::tuple("q", 128, 64), std::tuple("k", 64, 64),
                                             std::tuple("v", 64, 64), std::tuple("o", 64, 128)}) {
        const std::string projection = layer + "self_attn." + name + "_proj.";
        weights.Add(projection + "weight", "BF16", {uint64_t(rows), uint64_t(cols)});
        weights.Add(projection + "bias", "BF16", {uint64_t(rows)});
      }
      weights.Add(layer + "self_attn.sinks", "BF16", {4});
      weights.Add(layer + "mlp.router.weight", "BF16", {3, 64}).Add(layer + "mlp.router.bias", "BF16", {3});
      const std::string experts = layer + "mlp.experts.";
      weights.Add(experts + "gate_up_proj_blocks", "U8", {3, 192, 2, 16}, 1);
      weights.Add(experts + "gate_up_proj_scales", "U8", {3, 192, 2}, 1);
      weights.Add(experts + "gate_up_proj_bias", "BF16", {3, 192});
      weights.Add(experts + "down_proj_blocks", "U8", {3, 64, 3, 16}, 1);
      weights.Add(experts + "down_proj_scales", "U8", {3, 64, 3}, 1);
      weights.Add(experts + "down_proj_bias", "BF16", {3, 64});
    }
  }
  ModelSpec Load() const {
    const TempDir dir;
    WriteDirectory(dir, config, weights.Build());
    return testing::Load(dir.path());
  }
};

TEST(GptOssDirectory, HasTheParametersOfItsConfig) {
  const ModelSpec spec = Directory().Load();
  EXPECT_EQ(spec.family(), "gpt-oss");
  EXPECT_EQ(spec.rope_style(), ModelSpec::NEOX);
  EXPECT_EQ(spec.sliding_window(), 128u);
  ASSERT_EQ(spec.sliding_layers_size(), 1);
  EXPECT_EQ(spec.sliding_layers(0), 0u);
  EXPECT_EQ(spec.swiglu_limit(), 6.5f);
  EXPECT_EQ(spec.activation(), ModelSpec::CLAMPED_SWIGLU);
  EXPECT_TRUE(spec.norm_topk_prob());
  EXPECT_FALSE(spec.rope_scaling().truncate());
  EXPECT_EQ(spec.rope_scaling().original_context_length(), 128u);
  EXPECT_NEAR(spec.rope_scaling().attention_factor(), 0.1 * std::log(32.0) + 1, 1e-6);
  EXPECT_FLOAT_EQ(spec.rope_scaling().softmax_factor(), 1.0f);
  EXPECT_TRUE(spec.not_runnable().empty());
}

TEST(GptOssDirectory, GateAndUpTakeTurnsInOneTensor) {
  const ModelSpec spec = Directory().Load();
  std::map<std::pair<int, uint32_t>, const Weight*> found;
  for (const Weight& weight : spec.weights()) found[{weight.role(), weight.layer()}] = &weight;
  const Weight &gate = *found.at({Weight::EXPERT_GATE, 1}), &up = *found.at({Weight::EXPERT_UP, 1});
  for (const Weight* weight : {&gate, &up}) {
    EXPECT_EQ(weight->rows(), 96u);
    EXPECT_EQ(weight->cols(), 64u);
    EXPECT_EQ(weight->n_experts(), 3u);
    EXPECT_EQ(weight->type(), static_cast<uint32_t>(kernels::WeightType::kMXFP4));
    EXPECT_EQ(weight->layout(), Weight::MXFP4_TENSORS);
    EXPECT_EQ(weight->interleave(), 2u);
    ASSERT_EQ(weight->parts_size(), 2);
    EXPECT_EQ(weight->parts(0).line_bytes(), 32u);
    EXPECT_EQ(weight->parts(1).line_bytes(), 2u);
  }
  EXPECT_EQ(gate.offset(), up.offset());
  EXPECT_EQ(gate.phase(), 0u);
  EXPECT_EQ(up.phase(), 1u);
  EXPECT_EQ(found.at({Weight::EXPERT_UP_BIAS, 0})->interleave(), 2u);
  EXPECT_EQ(found.at({Weight::EXPERT_UP_BIAS, 0})->phase(), 1u);
  EXPECT_EQ(found.at({Weight::EXPERT_DOWN, 0})->interleave(), 0u);
}

TEST(GptOssDirectory, WhatDoesNotFitIsNamed) {
  Directory directory;
  directory.weights.header["model.layers.0.mlp.experts.gate_up_proj_blocks"]["shape"] = {3, 2, 192, 16};
  ExpectBadInput([&] { directory.Load(); },
                 {"gate_up_proj_blocks is [3, 2, 192, 16], expected [3, 192, 2, 16]"});
  directory = {};
  directory.config["layer_types"] = {"sliding_attention", "chunked_attention"};
  ExpectBadInput([&] { directory.Load(); }, {"layer_types", "chunked_attention", "full_attention"});
  directory = {};
  directory.config["layer_types"] = {"sliding_attention"};
  ExpectBadInput([&] { directory.Load(); }, {"layer_types: expected a list of 2 layers"});
}

}  // namespace
}  // namespace onecopy
