// MiMo-V2-Flash: two kinds of layers, by both spellings of config.json and by GGUF.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/drawn_model.h"
#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using nlohmann::json;
using proto::ModelSpec;
using proto::Weight;
using ::testing::ElementsAre;

const std::string& MimoPath(bool gguf) {
  static test::DrawnModels models;
  return models.Path(ONECOPY_TEST_MODELS "/../drawn/mimo_v2_flash", gguf);
}

ModelSpec LoadMimo(const std::function<void(json*)>& change) {
  const TempDir dir;
  json config = ReadJson(MimoPath(false) + "/config.json");
  change(&config);
  WriteFile(dir / "config.json", config.dump());
  std::filesystem::create_symlink(MimoPath(false) + "/model.safetensors", dir / "model.safetensors");
  return Load(dir.path());
}

TEST(Mimo2, LayersWithAWindowHaveHeadsAndSinksOfTheirOwn) {
  for (const bool gguf : {false, true}) {
    const ModelSpec spec = Load(MimoPath(gguf));
    EXPECT_THAT(spec.sliding_layers(), ElementsAre(1, 2));
    EXPECT_THAT(spec.dense_layers(), ElementsAre(0));
    EXPECT_EQ(spec.n_kv_heads(), 1u);
    EXPECT_EQ(spec.sliding_kv_heads(), 2u);
    EXPECT_EQ(spec.rope_theta(), 5e6f);
    EXPECT_EQ(spec.sliding_rope_theta(), 1e4f);
    EXPECT_EQ(spec.rope_dims(), 32u);
    EXPECT_EQ(spec.sliding_window(), 20u);
    EXPECT_EQ(spec.value_scale(), 0.707f);
    for (const Weight& weight : spec.weights()) {
      const uint32_t kv_heads = weight.layer() == 1 || weight.layer() == 2 ? 2 : 1;
      if (weight.role() == Weight::ATTN_K) {
        EXPECT_EQ(weight.rows(), kv_heads * 96) << weight.name();
      }
      if (weight.role() == Weight::ATTN_V) {
        EXPECT_EQ(weight.rows(), kv_heads * 64) << weight.name();
      }
      if (weight.role() == Weight::ATTN_O) {
        EXPECT_EQ(weight.cols(), 6u * 64) << weight.name();
      }
      if (weight.role() == Weight::ATTN_SINKS) {
        EXPECT_EQ(kv_heads, 2u) << weight.name();
      }
    }
  }
}

// The names that the published file has, of which transformers knows some by others.
TEST(Mimo2, ThePublishedNamesMeanTheSame) {
  ModelSpec published = LoadMimo([](json* c) {
    for (const char* key :
         {"layer_types", "mlp_layer_types", "rope_parameters", "sliding_window", "rms_norm_eps"})
      c->erase(key);
    c->update({{"hybrid_layer_pattern", {0, 1, 1, 0}},
               {"moe_layer_freq", {0, 1, 1, 1}},
               {"rope_theta", 5000000},
               {"swa_rope_theta", 10000},
               {"partial_rotary_factor", 0.334},
               {"sliding_window_size", 19},
               {"layernorm_epsilon", 1e-5},
               {"swa_head_dim", 96},
               {"n_shared_experts", nullptr}});
  });
  ModelSpec plain = Load(MimoPath(false));
  for (ModelSpec* spec : {&published, &plain}) {
    spec->clear_weights();
    spec->clear_files();
    spec->clear_name();
  }
  EXPECT_EQ(published.DebugString(), plain.DebugString());
}

TEST(Mimo2, WhatTheClassDoesNotComputeIsRefused) {
  const std::pair<const char*, json> cases[] = {
      {"swa_head_dim", 64},
      {"add_full_attention_sink_bias", true},
      {"n_shared_experts", 1},
      {"layer_types", {"full_attention"}},
      {"layer_types", json(4, "linear_attention")},
      {"rope_parameters", {{"full_attention", {{"rope_type", "yarn"}}}}}};
  for (const auto& [key, value] : cases)
    ExpectBadInput([&, key = key, value = value] { LoadMimo([&](json* c) { (*c)[key] = value; }); },
                   {key == std::string("rope_parameters") ? "rope_type" : key});
}

}  // namespace
}  // namespace onecopy
