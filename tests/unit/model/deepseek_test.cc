// DeepSeek's family, from headers with the names of published files and from small ones made here.
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
using proto::RopeScaling;
using proto::Weight;

Checkpoint OpenHeaders(const std::string& model, const std::string& options = "") {
  const TempDir dir;
  EXPECT_TRUE(test::WriteModelHeaders(model, dir / "m.gguf", options));
  return OpenCheckpoint(dir / "m.gguf", Data::kMayBeAbsent);
}

std::map<Weight::Role, int> CountRoles(const ModelSpec& spec) {
  std::map<Weight::Role, int> counts;
  for (const Weight& weight : spec.weights()) counts[weight.role()] += std::max(1u, weight.n_experts());
  return counts;
}

// 0.1 ln(factor) + 1, DeepSeek's mscale for a weight of 1.
double Temperature(double factor) {
  return 0.1 * std::log(factor) + 1;
}

TEST(Deepseek, V3HasTheParametersOfItsConfig) {
  const ModelSpec spec = BuildModelSpec(OpenHeaders("DeepSeek-V3"));
  EXPECT_EQ(spec.family(), "deepseek2");
  EXPECT_EQ(spec.n_layers(), 61u);
  EXPECT_EQ(spec.n_heads(), 128u);
  EXPECT_EQ(spec.n_kv_heads(), 1u);
  EXPECT_EQ(spec.head_dim(), 192u);
  EXPECT_EQ(spec.q_lora_rank(), 1536u);
  EXPECT_EQ(spec.kv_lora_rank(), 512u);
  EXPECT_EQ(spec.qk_nope_head_dim(), 128u);
  EXPECT_EQ(spec.qk_rope_head_dim(), 64u);
  EXPECT_EQ(spec.v_head_dim(), 128u);
  EXPECT_EQ(spec.rope_dims(), 64u);
  EXPECT_EQ(spec.rope_style(), ModelSpec::PAIRWISE);
  EXPECT_EQ(spec.intermediate_dim(), 18432u);
  EXPECT_EQ(spec.moe_intermediate_dim(), 2048u);
  EXPECT_EQ(spec.shared_intermediate_dim(), 2048u);
  EXPECT_THAT(spec.dense_layers(), ::testing::ElementsAre(0, 1, 2));
  EXPECT_EQ(spec.gating(), ModelSpec::SIGMOID);
  EXPECT_EQ(spec.n_group(), 8u);
  EXPECT_EQ(spec.topk_group(), 4u);
  EXPECT_EQ(spec.group_score(), ModelSpec::GROUP_TOP2_SUM);
  EXPECT_FLOAT_EQ(spec.routed_scaling_factor(), 2.5f);
  EXPECT_TRUE(spec.norm_topk_prob());
  const RopeScaling& rope = spec.rope_scaling();
  EXPECT_EQ(rope.kind(), RopeScaling::YARN);
  EXPECT_EQ(rope.factor(), 40.0f);
  EXPECT_EQ(rope.original_context_length(), 4096u);
  EXPECT_EQ(rope.beta_fast(), 32.0f);
  EXPECT_FLOAT_EQ(rope.attention_factor(), 1.0f);
  EXPECT_NEAR(rope.softmax_factor(), Temperature(40) * Temperature(40), 1e-5);
}

// Every role with its number of weights: layers, of which 3 dense and 58 with 256 experts.
TEST(Deepseek, V3BindsEveryTensorOfBothForms) {
  for (const bool split : {true, false}) {
    const Checkpoint checkpoint = OpenHeaders("DeepSeek-V3", split ? "--kv-b split" : "--kv-b whole");
    const ModelSpec spec = BuildModelSpec(checkpoint);
    EXPECT_EQ(static_cast<size_t>(spec.weights_size()), checkpoint.tensors.size());
    std::map<Weight::Role, int> expected = {
        {Weight::TOKEN_EMBEDDING, 1}, {Weight::LM_HEAD, 1},         {Weight::OUTPUT_NORM, 1},
        {Weight::ATTN_NORM, 61},      {Weight::FFN_NORM, 61},       {Weight::ATTN_Q_A, 61},
        {Weight::ATTN_Q_A_NORM, 61},  {Weight::ATTN_Q_B, 61},       {Weight::ATTN_KV_A, 61},
        {Weight::ATTN_KV_A_NORM, 61}, {Weight::ATTN_O, 61},         {Weight::DENSE_GATE, 3},
        {Weight::DENSE_UP, 3},        {Weight::DENSE_DOWN, 3},      {Weight::ROUTER, 58},
        {Weight::ROUTER_BIAS, 58},    {Weight::SHARED_GATE, 58},    {Weight::SHARED_UP, 58},
        {Weight::SHARED_DOWN, 58},    {Weight::EXPERT_GATE, 14848}, {Weight::EXPERT_UP, 14848},
        {Weight::EXPERT_DOWN, 14848}};
    if (split) {
      expected[Weight::ATTN_K_B] = expected[Weight::ATTN_V_B] = 61;
    } else {
      expected[Weight::ATTN_KV_B] = 61;
    }
    EXPECT_EQ(CountRoles(spec), expected);
    for (const Weight& weight : spec.weights()) {
      const RoleShape shape = ShapeOfRole(spec, weight.role(), weight.layer());
      EXPECT_EQ(weight.rows(), shape.rows) << weight.name();
      EXPECT_EQ(weight.cols(), shape.cols) << weight.name();
    }
  }
}

TEST(Deepseek, DirectoryAndFileDescribeTheSameModel) {
  for (const char* model : {"DeepSeek-V3", "Kimi-K2"}) {
    const TempDir dir;
    ASSERT_TRUE(test::WriteModelHeaders(model, dir / "hf", "--hf"));
    ModelSpec from_hf = BuildModelSpec(OpenCheckpoint(dir / "hf", Data::kMayBeAbsent));
    ModelSpec from_gguf = BuildModelSpec(OpenHeaders(model, "--kv-b whole"));
    EXPECT_EQ(CountRoles(from_hf), CountRoles(from_gguf));
    EXPECT_NEAR(from_hf.rope_scaling().softmax_factor(), from_gguf.rope_scaling().softmax_factor(), 1e-6);
    for (ModelSpec* spec : {&from_hf, &from_gguf}) {
      spec->clear_weights();
      spec->clear_files();
      spec->clear_file_bytes();
      spec->clear_name();
      spec->mutable_rope_scaling()->clear_softmax_factor();
    }
    // GGUF says nothing where there is one group.
    EXPECT_EQ(from_hf.DebugString(), from_gguf.DebugString()) << model;
  }
}

TEST(Deepseek, LeavesMultiTokenPredictionOut) {
  const ModelSpec without = BuildModelSpec(OpenHeaders("DeepSeek-V3"));
  const Checkpoint checkpoint = OpenHeaders("DeepSeek-V3", "--nextn 1");
  ASSERT_NE(checkpoint.Find("blk.61.nextn.eh_proj.weight"), nullptr);
  ASSERT_NE(checkpoint.Find("blk.61.exp_probs_b.bias"), nullptr);
  const ModelSpec with = BuildModelSpec(checkpoint);
  EXPECT_EQ(with.n_layers(), 61u);
  EXPECT_EQ(with.n_nextn_layers(), 1u);
  EXPECT_EQ(CountRoles(with), CountRoles(without));
}

// What is behind the layers for another reason than prediction is not waved through.
TEST(Deepseek, RefusesABiasThatNoLayerHas) {
  Checkpoint checkpoint = OpenHeaders("DeepSeek-V3");
  TensorInfo stray = *checkpoint.Find("blk.60.exp_probs_b.bias");
  stray.name = "blk.61.exp_probs_b.bias";
  checkpoint.index[stray.name] = checkpoint.tensors.size();
  checkpoint.tensors.push_back(stray);
  ExpectBadInput([&] { BuildModelSpec(checkpoint); },
                 {"1 tensor is not supported in this family: blk.61.exp_probs_b.bias"});
}

TEST(Deepseek, MissingAndMisshapenTensorsAreNamed) {
  Checkpoint checkpoint = OpenHeaders("DeepSeek-V3");
  checkpoint.index.erase("blk.7.attn_k_b.weight");
  checkpoint.index.erase("blk.3.ffn_up_shexp.weight");
  checkpoint.tensors[checkpoint.index.at("blk.5.attn_v_b.weight")].shape = {128, 512, 128};
  checkpoint.tensors[checkpoint.index.at("blk.9.exp_probs_b.bias")].shape = {255};
  ExpectBadInput(
      [&] { BuildModelSpec(checkpoint); },
      {"2 tensors are missing: ", "blk.7.attn_k_b.weight", "blk.3.ffn_up_shexp.weight",
       "2 tensors are of wrong shape: ", "blk.5.attn_v_b.weight is [128, 512, 128], expected [128, 128, 512]",
       "blk.9.exp_probs_b.bias is [255], expected [256]"});
}

TEST(Deepseek, ParametersThatContradictEachOtherAreRefused) {
  const std::string heads = "attention.head_count: 128 heads of ",
                    group = "expert_group_count: 256 experts in ";
  const std::tuple<const char*, nlohmann::json, std::string> cases[] = {
      {"rope.dimension_count", 192,
       "rope.dimension_count: expected an even number below the 192 elements of a head, found 192"},
      {"rope.dimension_count", 63,
       "rope.dimension_count: expected an even number below the 192 elements of a head, found 63"},
      {"expert_group_count", 7, group + "7 groups, of which 4, do not fit together"},
      {"expert_group_used_count", 9, group + "8 groups, of which 9, do not fit together"},
      {"attention.kv_lora_rank", 1 << 20, heads + "1048576 elements are above 16777216"},
      {"attention.key_length_mla", 1 << 20, heads + "1048704 elements are above 16777216"},
      {"leading_dense_block_count", 62,
       "leading_dense_block_count: expected an integer from 0 to 61, found 62"},
      {"nextn_predict_layers", 61, "nextn_predict_layers: expected an integer from 0 to 60, found 61"},
      {"expert_gating_func", 4,
       "expert_gating_func: expected softmax (1), sigmoid (2) or softmax of the chosen (3), found 4"},
      {"rope.scaling.type", "longrope", "rope.scaling.type: longrope is not supported yet"},
      {"expert_shared_count", 1 << 20,
       "expert_shared_count: expected an integer from 0 to 8192, found 1048576"},
  };
  const Checkpoint checkpoint = OpenHeaders("DeepSeek-V3");
  for (const auto& [key, value, message] : cases) {
    Checkpoint changed = checkpoint;
    changed.metadata[std::string("deepseek2.") + key] = value;
    ExpectBadInput([&] { BuildModelSpec(changed); }, {"deepseek2." + message});
  }
}

nlohmann::json SmallV2Config() {
  return {{"model_type", "deepseek_v2"},
          {"hidden_size", 64},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 2},
          {"q_lora_rank", nullptr},
          {"kv_lora_rank", 32},
          {"qk_nope_head_dim", 16},
          {"qk_rope_head_dim", 8},
          {"v_head_dim", 24},
          {"intermediate_size", 96},
          {"moe_intermediate_size", 32},
          {"n_routed_experts", 4},
          {"n_shared_experts", 2},
          {"num_experts_per_tok", 2},
          {"first_k_dense_replace", 1},
          {"topk_method", "group_limited_greedy"},
          {"n_group", 2},
          {"topk_group", 1},
          {"routed_scaling_factor", 16.0},
          {"vocab_size", 128},
          {"max_position_embeddings", 512},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000},
          {"rope_scaling",
           {{"type", "yarn"},
            {"factor", 40},
            {"original_max_position_embeddings", 64},
            {"mscale", 0.707},
            {"mscale_all_dim", 0.707}}}};
}

SafetensorsWriter SmallV2Weights() {
  SafetensorsWriter w;
  w.Add("model.embed_tokens.weight", "BF16", {128, 64}).Add("lm_head.weight", "BF16", {128, 64});
  w.Add("model.norm.weight", "BF16", {64});
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    w.Add(layer + "input_layernorm.weight", "BF16", {64})
        .Add(layer + "post_attention_layernorm.weight", "BF16", {64});
    w.Add(layer + "self_attn.q_proj.weight", "BF16", {48, 64});
    w.Add(layer + "self_attn.kv_a_proj_with_mqa.weight", "BF16", {40, 64});
    w.Add(layer + "self_attn.kv_a_layernorm.weight", "BF16", {32});
    w.Add(layer + "self_attn.kv_b_proj.weight", "BF16", {80, 32});
    w.Add(layer + "self_attn.o_proj.weight", "BF16", {64, 48});
  }
  const auto ffn = [&](const std::string& prefix, uint64_t n) {
    w.Add(prefix + "gate_proj.weight", "BF16", {n, 64}).Add(prefix + "up_proj.weight", "BF16", {n, 64});
    w.Add(prefix + "down_proj.weight", "BF16", {64, n});
  };
  ffn("model.layers.0.mlp.", 96);
  ffn("model.layers.1.mlp.shared_experts.", 64);
  for (const char* expert : {"0", "1", "2", "3"})
    ffn(std::string("model.layers.1.mlp.experts.") + expert + ".", 32);
  w.Add("model.layers.1.mlp.gate.weight", "BF16", {4, 64});
  return w;
}

ModelSpec LoadV2(const nlohmann::json& config) {
  const TempDir dir;
  WriteDirectory(dir, config, SmallV2Weights().Build());
  return Load(dir.path());
}

TEST(Deepseek, V2WithoutQueryRankGatesBySoftmax) {
  const ModelSpec spec = LoadV2(SmallV2Config());
  EXPECT_EQ(spec.q_lora_rank(), 0u);
  EXPECT_EQ(CountRoles(spec)[Weight::ATTN_Q], 2);
  EXPECT_EQ(CountRoles(spec)[Weight::ROUTER_BIAS], 0);
  EXPECT_EQ(spec.shared_intermediate_dim(), 64u) << "two shared experts are one FFN";
  EXPECT_EQ(spec.gating(), ModelSpec::SOFTMAX);
  EXPECT_EQ(spec.group_score(), ModelSpec::GROUP_MAX);
  EXPECT_EQ(spec.n_group(), 2u);
  EXPECT_FALSE(spec.norm_topk_prob());
  EXPECT_FLOAT_EQ(spec.routed_scaling_factor(), 16.0f);
  const double mscale = 0.0707 * std::log(40.0) + 1;
  EXPECT_NEAR(spec.rope_scaling().softmax_factor(), mscale * mscale, 1e-5);
  EXPECT_FLOAT_EQ(spec.rope_scaling().attention_factor(), 1.0f);
}

TEST(Deepseek, PlainTopKHasNoGroups) {
  nlohmann::json config = SmallV2Config();
  config["topk_method"] = "greedy";
  EXPECT_EQ(LoadV2(config).n_group(), 1u);
}

// An option that is ignored would give wrong answers without a word.
TEST(Deepseek, RefusesOptionsOfDirectoriesByName) {
  const std::pair<const char*, nlohmann::json> cases[] = {
      {"moe_layer_freq", 2},
      {"attention_bias", true},
      {"hidden_act", "gelu"},
      {"scoring_func", "sqrtsoftplus"},
      {"topk_method", "random"},
      {"quantization_config", {{"quant_method", "hqq"}}},
      {"rope_scaling", {{"type", "longrope"}, {"factor", 2}}},
      {"kv_lora_rank", nullptr}};
  for (const auto& [key, value] : cases) {
    nlohmann::json config = SmallV2Config();
    config[key] = value;
    ExpectBadInput([&] { LoadV2(config); }, {key});
  }
}

}  // namespace
}  // namespace onecopy
