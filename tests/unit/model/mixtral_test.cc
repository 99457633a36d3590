// Mixtral, as GGUF architecture llama with experts and as a directory.
#include <cmath>
#include <limits>
#include <set>

#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using nlohmann::json;
using proto::ModelSpec;
using proto::Weight;
using W = GgufWriter;

TEST(Mixtral, GgufIsLlamaWithExpertsAndPairwiseRope) {
  const ModelSpec spec = LoadGguf(TinyMixtral());
  EXPECT_EQ(spec.family(), "mixtral");
  EXPECT_EQ(spec.rope_style(), ModelSpec::PAIRWISE);
  EXPECT_TRUE(spec.norm_topk_prob());
  EXPECT_EQ(spec.n_experts(), 4u);
  EXPECT_EQ(spec.n_experts_used(), 2u);
  EXPECT_EQ(spec.moe_intermediate_dim(), 32u);
  EXPECT_EQ(spec.head_dim(), 16u);
  EXPECT_EQ(spec.rms_norm_eps(), 1e-5f);
  EXPECT_EQ(spec.name(), "m");
  ExpectCompleteAndShaped(spec, {});
}

TEST(Mixtral, GgufDefaultsAreThoseOfLlamaCpp) {
  W gguf = TinyMixtral();
  gguf.Drop("llama.vocab_size").Drop("llama.rope.freq_base").Drop("llama.rope.dimension_count");
  gguf.DropTensor("output.weight");
  const ModelSpec spec = LoadGguf(gguf);
  EXPECT_EQ(spec.vocab_size(), 32u);
  EXPECT_EQ(spec.rope_theta(), 10000.0f);
  EXPECT_EQ(spec.rope_dims(), 16u);
  EXPECT_TRUE(spec.tied_embeddings());
  ExpectCompleteAndShaped(spec, {});
}

TEST(Mixtral, GgufIntegersMayHaveAnyTypeAndPerLayerListsOfOneValue) {
  W gguf = TinyMixtral();
  gguf.Set("llama.block_count", W::kU64, Raw<uint64_t>(1))
      .Set("llama.embedding_length", W::kI32, Raw<int32_t>(32));
  gguf.Set("llama.expert_count", W::kU8, Raw<uint8_t>(4));
  gguf.Numbers<uint32_t>("llama.attention.head_count_kv", W::kU32, {1, 1, 1});
  ExpectCompleteAndShaped(LoadGguf(gguf), {});
  gguf.Numbers<uint32_t>("llama.attention.head_count_kv", W::kU32, {1, 2, 1});
  ExpectBadInput([&] { LoadGguf(gguf); },
                 {"llama.attention.head_count_kv", "per layer are not supported yet"});
}

TEST(Mixtral, RefusesUnsupportedOrAbsurdGguf) {
  struct Case {
    const char* what;
    std::function<void(W*)> edit;
    std::vector<std::string> fragments;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  const std::vector<Case> cases = {
      {"dense", [](W* w) { w->Drop("llama.expert_count"); }, {"blk.0.ffn_gate.weight"}},
      {"no experts", [](W* w) { w->U32("llama.expert_count", 0); }, {"blk.0.ffn_gate.weight"}},
      {"no architecture",
       [](W* w) { w->Drop("general.architecture"); },
       {"general.architecture: is missing"}},
      {"architecture 3",
       [](W* w) { w->U32("general.architecture", 3); },
       {"general.architecture: expected a string"}},
      {"block_count 0", [](W* w) { w->U32("llama.block_count", 0); }, {"llama.block_count", "found 0"}},
      {"block_count 1e6",
       [](W* w) { w->U32("llama.block_count", 1000000); },
       {"llama.block_count", "found 1000000"}},
      {"block_count a float",
       [](W* w) { w->F32("llama.block_count", 1); },
       {"llama.block_count", "an integer"}},
      {"block_count a bool",
       [](W* w) { w->Flag("llama.block_count", true); },
       {"llama.block_count", "an integer"}},
      {"heads 0",
       [](W* w) { w->U32("llama.attention.head_count", 0); },
       {"llama.attention.head_count", "found 0"}},
      {"heads that leave a rest",
       [](W* w) { w->U32("llama.attention.head_count", 3); },
       {"llama.embedding_length: expected a multiple of the 3 heads, found 32"}},
      {"more KV heads than heads",
       [](W* w) { w->U32("llama.attention.head_count_kv", 4); },
       {"2 query heads are not a multiple of 4"}},
      {"key and value differ",
       [](W* w) { w->U32("llama.attention.value_length", 8); },
       {"llama.attention.value_length", "not supported yet"}},
      {"top k", [](W* w) { w->U32("llama.expert_used_count", 5); }, {"5 experts are chosen of only 4"}},
      {"context 0", [](W* w) { w->U32("llama.context_length", 0); }, {"llama.context_length", "found 0"}},
      {"rope base NaN",
       [=](W* w) { w->F32("llama.rope.freq_base", nan); },
       {"llama.rope.freq_base", "found nan"}},
      {"rope base infinite", [=](W* w) { w->F32("llama.rope.freq_base", infinity); }, {"found inf"}},
      {"rope base 0", [](W* w) { w->F32("llama.rope.freq_base", 0); }, {"llama.rope.freq_base", "above 0"}},
      {"rope dimensions odd",
       [](W* w) { w->U32("llama.rope.dimension_count", 15); },
       {"llama.rope.dimension_count", "found 15"}},
      {"rope dimensions above the head",
       [](W* w) { w->U32("llama.rope.dimension_count", 18); },
       {"found 18"}},
      {"eps NaN",
       [=](W* w) { w->F32("llama.attention.layer_norm_rms_epsilon", nan); },
       {"llama.attention.layer_norm_rms_epsilon", "found nan"}},
      {"eps negative",
       [](W* w) { w->F32("llama.attention.layer_norm_rms_epsilon", -1e-5f); },
       {"llama.attention.layer_norm_rms_epsilon", "above 0"}},
      {"yarn without factor",
       [](W* w) { w->Text("llama.rope.scaling.type", "yarn"); },
       {"llama.rope.scaling.factor: is missing", "llama.rope.scaling.original_context_length: is missing"}},
      {"unknown scaling",
       [](W* w) { w->Text("llama.rope.scaling.type", "longrope"); },
       {"llama.rope.scaling.type: longrope is not supported yet"}},
      {"a pattern of windows",
       [](W* w) { w->U32("llama.attention.sliding_window_pattern", 4); },
       {"llama.attention.sliding_window_pattern"}},
      {"a factor of Granite",
       [](W* w) { w->F32("llama.residual_scale", 0.2f); },
       {"llama.residual_scale: is not supported in this family"}},
      {"shared expert", [](W* w) { w->U32("llama.expert_shared_count", 1); }, {"llama.expert_shared_count"}},
      {"unknown gate",
       [](W* w) { w->U32("llama.expert_gating_func", 4); },
       {"llama.expert_gating_func: expected softmax (1)", "found 4"}},
      {"vocabulary larger than the embedding",
       [](W* w) {
         w->Texts("tokenizer.ggml.tokens", std::vector<std::string>(33, "t"));
         w->Drop("tokenizer.ggml.scores").Drop("tokenizer.ggml.token_type");
       },
       {"tokenizer.ggml.tokens", "at most 32 tokens", "found 33"}},
      {"vocab_size that the embedding contradicts",
       [](W* w) { w->U32("llama.vocab_size", 64); },
       {"token_embd.weight is [32, 32], expected [64, 32]"}},
      {"rope factors",
       [](W* w) {
         w->Add({"rope_freqs.weight", {7}, 0, std::string(28, '\0')});
       },
       {"rope_freqs.weight is [7], expected [8]"}},
      {"a norm of another family",
       [](W* w) {
         w->Add({"blk.0.post_ffw_norm.weight", {32}, 0, std::string(128, '\0')});
       },
       {"not supported in this family: blk.0.post_ffw_norm.weight"}},
      {"a bias",
       [](W* w) {
         w->Add({"blk.0.ffn_gate_inp.bias", {4}, 0, std::string(16, '\0')});
       },
       {"not supported in this family: blk.0.ffn_gate_inp.bias"}},
      {"a type that is not computed",
       [](W* w) {
         w->At("blk.0.attn_v.weight").type = 9;
         w->At("blk.0.attn_v.weight").data.resize(16 * 36);
       },
       {"blk.0.attn_v.weight is Q8_1, expected one of F32", "Q6_K"}},
      {"a quantised norm",
       [](W* w) {
         w->At("output_norm.weight").type = 8;
         w->At("output_norm.weight").data.resize(34);
       },
       {"output_norm.weight is Q8_0, expected one of F32, F16, BF16"}},
      {"experts not stacked as announced",
       [](W* w) {
         w->At("blk.0.ffn_up_exps.weight").dims = {32, 32, 3};
       },
       {"blk.0.ffn_up_exps.weight is [3, 32, 32], expected [4, 32, 32]"}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    W gguf = TinyMixtral();
    one.edit(&gguf);
    ExpectBadInput([&] { LoadGguf(gguf); }, one.fragments);
  }
}

TEST(Mixtral, GgufBiasesAreOptionalButOfAllLayers) {
  W gguf = TinyMixtral();
  gguf.Add({"blk.0.attn_q.bias", {32}, 0, std::string(128, '\0')});
  gguf.Add({"blk.0.attn_k.bias", {16}, 0, std::string(64, '\0')});
  gguf.Add({"blk.0.attn_v.bias", {16}, 0, std::string(64, '\0')});
  ExpectCompleteAndShaped(LoadGguf(gguf), {Weight::ATTN_Q_BIAS, Weight::ATTN_K_BIAS, Weight::ATTN_V_BIAS});
  gguf.U32("llama.block_count", 2);
  ExpectBadInput([&] { LoadGguf(gguf); }, {"13 tensors are missing"});
}

TEST(Mixtral, DirectoryHasAWindowWhereItIsShorterThanTheContext) {
  const auto load = [](const json& window) {
    const TempDir dir;
    std::filesystem::copy(DataPath("goldens/malformed/valid"), dir.path(),
                          std::filesystem::copy_options::recursive);
    json config = ReadJson(dir / "config.json");
    config["sliding_window"] = window;
    WriteFile(dir / "config.json", config.dump());
    return Load(dir.path());
  };
  for (const json& none : {json(nullptr), json(64)}) {
    EXPECT_EQ(load(none).sliding_window(), 0u);
    EXPECT_EQ(load(none).sliding_layers_size(), 0);
  }
  const ModelSpec windowed = load(63);
  EXPECT_EQ(windowed.sliding_window(), 63u);
  EXPECT_EQ(static_cast<uint32_t>(windowed.sliding_layers_size()), windowed.n_layers());
}

}  // namespace
}  // namespace onecopy
