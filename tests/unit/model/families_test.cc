// Families as published: names and options of real config.json files, and what is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/model/summary.h"
#include "tests/support/drawn_model.h"
#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using nlohmann::json;
using proto::ModelSpec;
using proto::RopeScaling;

std::string DrawnPath(const std::string& name, bool gguf) {
  static test::DrawnModels models;
  return models.Path(ONECOPY_TEST_MODELS "/../drawn/" + name, gguf);
}

// The drawn model `name` as a directory, with its config changed.
ModelSpec LoadChanged(const std::string& name, const std::function<void(json*)>& change) {
  const TempDir dir;
  const std::string from = DrawnPath(name, false);
  json config = ReadJson(from + "/config.json");
  change(&config);
  WriteFile(dir / "config.json", config.dump());
  std::filesystem::create_symlink(from + "/model.safetensors", dir / "model.safetensors");
  return Load(dir.path());
}

// What the two formats say of a model is the same, but for how rows are ordered and what the formats name differently.
TEST(Families, GgufAndDirectoryGiveTheSameSpec) {
  for (const char* name : {"qwen2_moe", "qwen2", "qwen3", "llama2", "mixtral", "olmoe", "glm4_moe",
                           "minimax_m2", "granitemoe", "granitemoeshared", "ernie4_5_moe", "llama4", "dots1"}) {
    ModelSpec specs[] = {Load(DrawnPath(name, false)), Load(DrawnPath(name, true))};
    for (ModelSpec& spec : specs) {
      spec.clear_weights();
      spec.clear_files();
      spec.clear_file_bytes();
      spec.clear_name();
      spec.clear_rope_style();
      spec.clear_n_nextn_layers();
      // One group, and a factor of one, are what is meant where nothing is said.
      if (spec.n_group() <= 1) spec.clear_n_group();
      if (spec.n_group() <= 1) spec.clear_topk_group();
      if (spec.n_group() <= 1) spec.clear_group_score();
      if (spec.routed_scaling_factor() == 1) spec.clear_routed_scaling_factor();
    }
    EXPECT_EQ(specs[0].DebugString(), specs[1].DebugString()) << name;
  }
}

TEST(Families, MultiTokenPredictionIsLeftOut) {
  for (const bool gguf : {false, true}) {
    const ModelSpec spec = Load(DrawnPath("glm4_moe", gguf));
    EXPECT_EQ(spec.n_layers(), 5u);
    EXPECT_EQ(spec.n_nextn_layers(), 1u);
    for (const auto& weight : spec.weights()) EXPECT_LT(weight.layer(), 5u) << weight.name();
  }
}

TEST(Families, LlamasRopeIsScaledAsItsConfigSays) {
  const ModelSpec llama3 = Load(DrawnPath("llama", false));
  EXPECT_EQ(llama3.rope_scaling().kind(), RopeScaling::LLAMA3);
  EXPECT_EQ(llama3.rope_scaling().high_freq_factor(), 4);
  const ModelSpec dynamic = LoadChanged("llama", [](json* c) {
    (*c)["rope_scaling"] = {{"type", "dynamic"}, {"factor", 4.0}};
    c->erase("num_key_value_heads");
    (*c)["num_key_value_heads"] = 2;
  });
  EXPECT_EQ(dynamic.rope_scaling().kind(), RopeScaling::DYNAMIC_NTK);
  EXPECT_EQ(dynamic.rope_scaling().original_context_length(), 1024u);
  EXPECT_EQ(dynamic.context_length(), 4096u) << "stretched";
  // Llama 2's file has no rope_theta.
  EXPECT_EQ(Load(DrawnPath("llama2", false)).rope_theta(), 10000.0f);
  ExpectBadInput([] { LoadChanged("llama", [](json* c) { (*c)["mlp_bias"] = true; }); }, {"mlp_bias"});
}

TEST(Families, WindowsBelongToTheLayersThatTransformersGivesThem) {
  const auto layers = [](const ModelSpec& spec) {
    return std::vector<uint32_t>(spec.sliding_layers().begin(), spec.sliding_layers().end());
  };
  using ::testing::ElementsAre;
  EXPECT_THAT(layers(Load(DrawnPath("mistral", false))), ElementsAre(0, 1, 2));
  EXPECT_THAT(layers(Load(DrawnPath("qwen2_window", false))), ElementsAre(1, 2));
  EXPECT_THAT(layers(Load(DrawnPath("dots1_window", false))), ElementsAre(2, 3));
  // Its class has 62 layers without one where the file does not say.
  EXPECT_THAT(layers(LoadChanged("dots1_window", [](json* c) { c->erase("max_window_layers"); })),
              ElementsAre());
  EXPECT_THAT(layers(LoadChanged("qwen2_window", [](json* c) { (*c)["use_sliding_window"] = false; })),
              ElementsAre());
  EXPECT_THAT(
      layers(LoadChanged("qwen2_window",
                         [](json* c) {
                           (*c)["layer_types"] = {"sliding_attention", "full_attention", "full_attention"};
                         })),
      ElementsAre(0));
  ExpectBadInput(
      [] {
        LoadChanged("qwen2_window", [](json* c) {
          (*c)["layer_types"] = {"linear_attention", "full_attention", "full_attention"};
        });
      },
      {"layer_types", "linear_attention", "not supported"});
  ExpectBadInput([] { LoadChanged("mistral", [](json* c) { c->erase("sliding_window"); }); },
                 {"sliding_window", "is missing"});
}

TEST(Families, OptionsThatAreNotComputedAreRefused) {
  const std::tuple<const char*, const char*, json> cases[] = {
      {"olmoe", "clip_qkv", 8.0},
      {"minimax_m2", "qk_norm_type", "per_head"},
      {"minimax_m2", "scoring_func", "softmax"},
      {"minimax_m2", "attn_type_list", json({1, 0, 1})},
      {"minimax_m2", "shared_intermediate_size", 64},
      {"ernie4_5_moe", "use_bias", true},
      {"glm4_moe", "use_qk_norm", false},
      {"glm4_moe", "scoring_func", "sqrtsoftplus"},
      {"glm4_moe", "scoring_func", "noaux_tc"},
      {"dots1", "scoring_func", "sqrtsoftplus"},
      {"qwen2_moe", "use_sliding_window", true},
      {"qwen2_moe", "qkv_bias", false},
      {"granitemoe", "hidden_act", "gelu"},
      {"granitemoe", "logits_scaling", 0},
  };
  for (const auto& [name, key, value] : cases)
    ExpectBadInput([&, key = key, value = value,
                    name = name] { LoadChanged(name, [&](json* c) { (*c)[key] = value; }); },
                   {key});
}

TEST(Families, SomeAreRefusedByNameWithWhatTheyNeed) {
  const std::pair<const char*, const char*> cases[] = {
      {"deepseek_v32", "sparse attention"},
      {"glm_moe_dsa", "sparse attention"},
      {"deepseek_v4", "sparse attention"},
      {"kimi_linear", "linear attention"},
      {"jamba", "state-space"},
  };
  for (const auto& [type, needs] : cases) {
    const TempDir dir;
    SafetensorsWriter weights;
    weights.Add("model.norm.weight", "BF16", {64});
    WriteDirectory(dir, {{"model_type", type}}, weights.Build());
    ExpectBadInput([&] { Load(dir.path()); }, {type, "is not supported yet: it needs", needs});
    const json summary = Summarize(OpenCheckpoint(dir.path()));
    EXPECT_TRUE(summary["family"].is_null());
    EXPECT_THAT(summary["problem"].get<std::string>(), ::testing::HasSubstr(needs));
    EXPECT_EQ(summary["parameters"], 64);
  }
}

TEST(Summary, CountsAllParametersAndThoseThatATokenUses) {
  const json config = ReadJson(DrawnPath("mixtral", false) + "/config.json");
  const json summary = Summarize(OpenCheckpoint(DrawnPath("mixtral", false)));
  const uint64_t hidden = config["hidden_size"], layers = config["num_hidden_layers"];
  const uint64_t expert = 3 * hidden * config["intermediate_size"].get<uint64_t>();
  EXPECT_EQ(summary["family"], "mixtral");
  EXPECT_EQ(summary["context_length"], 1024);
  EXPECT_EQ(summary["parameters"].get<uint64_t>() - summary["active_parameters"].get<uint64_t>(),
            3 * expert * layers)
      << "three of six experts";
  EXPECT_EQ(summary["types"][0]["type"], "BF16");
  EXPECT_EQ(summary["types"][0]["share"], 1.0);
  const std::string text = SummaryAsText(summary);
  EXPECT_THAT(text, ::testing::HasSubstr("family mixtral, "));
  EXPECT_THAT(text, ::testing::HasSubstr("types BF16 100.0 %\n"));
  EXPECT_THAT(text, ::testing::Not(::testing::HasSubstr("cannot be run")));
}

}  // namespace
}  // namespace onecopy
