// Hyper-parameters that a family does not know: an error by name where they may change what is computed, nothing where they
// cannot. Keys are llama.cpp's and those of published config.json files of other or later models.
#include <gtest/gtest.h>

#include "tests/support/drawn_model.h"
#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using nlohmann::json;
using proto::ModelSpec;

// A key of config.json, or of GGUF behind the architecture.
struct Odd {
  const char* model;
  bool gguf;
  const char* key;
  json value;
};

ModelSpec LoadOdd(const Odd& odd) {
  static test::DrawnModels models;
  const std::string folder = ONECOPY_TEST_MODELS "/";
  Checkpoint checkpoint = OpenCheckpoint(std::filesystem::exists(folder + odd.model)
                                             ? folder + odd.model
                                             : models.Path(folder + "../drawn/" + odd.model, odd.gguf));
  std::string key = odd.key;
  if (odd.gguf) key = checkpoint.metadata.at("general.architecture").get<std::string>() + "." + key;
  checkpoint.metadata[key] = odd.value;
  return BuildModelSpec(checkpoint);
}

std::string Shown(const Odd& odd) {
  return fmt::format("{} {} {}: {}", odd.model, odd.gguf ? "GGUF" : "directory", odd.key, odd.value.dump());
}

TEST(UnreadParameters, ThatMayChangeTheArithmeticAreRefusedByName) {
  const Odd cases[] = {
      {"qwen3", true, "rope.scaling.alpha", 1000.0},
      {"qwen3", true, "rope.scaling.attn_factor", 1.2},
      {"qwen3", true, "rope.scaling.yarn_ext_factor", 1.0},
      {"qwen3", true, "attention.causal", false},
      {"qwen3", true, "use_parallel_residual", true},
      {"qwen2", true, "rope.scaling.yarn_attn_factor", 1.3},
      {"qwen2_moe", true, "router_logit_softcapping", 30.0},
      {"qwen2_moe", true, "expert_group_scale", 0.05},
      {"qwen2_moe", true, "moe_every_n_layers", 2},
      {"mixtral", true, "attn_logit_softcapping", 30.0},
      {"mixtral", true, "swiglu_clamp_exp", {0.0, 7.0, 7.0}},
      {"glm4_moe", true, "attention.indexer.top_k", 2048},
      {"glm4_moe", true, "moe_latent_size", 64},
      {"minimax_m2", true, "attention.output_scale", 0.5},
      {"granitemoe", true, "ssm.state_size", 128},
      {"mimo_v2_flash", true, "attention.shared_kv_layers", 4},
      {"gguf/gpt_oss/model.gguf", true, "attention.scale", 0.1},
      {"gguf/gpt_oss/model.gguf", true, "final_logit_softcapping", 15.0},
      {"gguf/gpt_oss/model.gguf", true, "rope.freq_base_swa", 1e4},
      {"gguf/deepseek_v3-Q4_K_M/model.gguf", true, "attention.sliding_window", 64},
      {"gguf/deepseek_v3-Q4_K_M/model.gguf", true, "logit_scale", 0.5},
      {"qwen3", false, "final_logit_softcapping", 30.0},
      {"qwen3", false, "hidden_activation", "gelu_pytorch_tanh"},
      {"qwen3", false, "query_pre_attn_scalar", 144},
      {"qwen3", false, "alibi", true},
      {"qwen3", false, "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}, {"high_freq_boost", 2.0}}},
      {"llama", false, "position_embedding_type", "alibi"},
      {"llama", false, "embedding_multiplier", 12.0},
      {"llama", false, "rope_local_base_freq", 10000.0},
      {"mixtral", false, "scoring_func", "sigmoid"},
      {"mixtral", false, "router_act_fn", "sigmoid"},
      {"olmoe", false, "norm_type", "layernorm"},
      {"glm4_moe", false, "index_topk", 2048},
      {"minimax_m2", false, "layernorm_full_attention_beta", 3.5},
      {"minimax_m2", false, "swiglu_alpha", 1.7},
      {"ernie4_5_moe", false, "moe_latent_size", 64},
      {"granitemoe", false, "normalization_function", "layernorm"},
      {"granitemoe", false, "position_embedding_type", "nope"},
      {"qwen3_next", false, "rotary_base_local", 10000},
      {"mimo_v2_flash", false, "attention_softcap", 50.0},
      {"deepseek_v3", false, "zero_expert_num", 64},
      {"deepseek_v3", false, "index_topk", 2048},
      {"gpt_oss", false, "logit_scale", 0.0625},
      {"gpt_oss", false, "swiglu_alpha", 1.5},
  };
  for (const Odd& odd : cases) {
    SCOPED_TRACE(Shown(odd));
    const char* named = odd.value.is_object() ? "high_freq_boost" : odd.key;
    ExpectBadInput([&] { LoadOdd(odd); }, {named, "not supported"});
  }
}

TEST(UnreadParameters, ThatSayNothingAreNotLookedAt) {
  const Odd cases[] = {
      {"qwen3", true, "attention.causal", true},
      {"qwen3", true, "attention.layer_norm_epsilon", 1e-5},
      {"qwen3", true, "rope.scaling.finetuned", true},
      {"qwen3", true, "rope.scaling.attn_factor", 1.0},
      {"qwen3", true, "attn_logit_softcapping", 0.0},
      {"qwen3", true, "expert_used_count", 8},
      {"qwen3", true, "rope.dimension_sections", {16, 24, 24, 0}},
      {"llama", true, "tensor_data_layout", "Meta AI original pth"},
      {"llama", true, "swiglu_clamp_exp", {0.0, 0.0}},
      {"qwen2_moe", true, "rope.freq_base_swa", 1e4},
      {"ernie4_5_moe", true, "a_key_of_tomorrow", 3},
      {"qwen3", false, "final_logit_softcapping", nullptr},
      {"qwen3", false, "router_aux_loss_coef", 0.001},
      {"qwen3", false, "initializer_range", 0.02},
      {"qwen3", false, "unsloth_version", "2026.1"},
      {"llama", false, "pretraining_tp", 2},
      {"granitemoe", false, "normalization_function", "rmsnorm"},
      {"granitemoe", false, "position_embedding_type", "rope"},
      {"minimax_m2", false, "layernorm_full_attention_beta", 1.0},
      {"ernie4_5_moe", false, "use_rmsnorm", true},
      {"deepseek_v3", false, "aux_loss_alpha", 0.001},
  };
  for (const Odd& odd : cases) {
    SCOPED_TRACE(Shown(odd));
    EXPECT_NO_THROW(LoadOdd(odd));
  }
}

// The name comes from the file, too.
TEST(UnreadParameters, AreNamedFitForATerminal) {
  try {
    LoadOdd({"qwen3", true, "rope.freq_\x10\x1b[31mase", 10000.0});
    FAIL() << "taken";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("rope.freq_\\x10\\x1b[31mase: 10000.0 is not supported"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace onecopy
