// Llama 4's layers as published config.json files say them, and the text model in a directory with vision tensors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/drawn_model.h"
#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using nlohmann::json;
using proto::ModelSpec;
using ::testing::ElementsAre;

const std::string& Llama4Path() {
  static test::DrawnModels models;
  static const std::string path = models.Path(ONECOPY_TEST_MODELS "/../drawn/llama4", false);
  return path;
}

ModelSpec LoadLlama4(const std::function<void(json*)>& change) {
  const TempDir dir;
  json config = ReadJson(Llama4Path() + "/config.json");
  change(&config);
  WriteFile(dir / "config.json", config.dump());
  std::filesystem::create_symlink(Llama4Path() + "/model.safetensors", dir / "model.safetensors");
  return Load(dir.path());
}

TEST(Llama4, LayersWithoutRopeHaveFullAttention) {
  const ModelSpec spec = Load(Llama4Path());
  EXPECT_THAT(spec.nope_layers(), ElementsAre(3));
  EXPECT_THAT(spec.sliding_layers(), ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(spec.dense_layers(), ElementsAre(0, 2, 4));
  EXPECT_EQ(spec.attention_chunk(), 8192u);
  EXPECT_EQ(spec.sliding_window(), 0u);

  const ModelSpec marked = LoadLlama4([](json* c) { (*c)["no_rope_layers"] = {1, 0, 1, 1, 0}; });
  EXPECT_THAT(marked.nope_layers(), ElementsAre(1, 4));
  EXPECT_THAT(marked.sliding_layers(), ElementsAre(0, 2, 3));

  const ModelSpec whole = LoadLlama4([](json* c) { (*c)["attention_chunk_size"] = nullptr; });
  EXPECT_THAT(whole.sliding_layers(), ElementsAre()) << "null is no chunk";
  const ModelSpec absent = LoadLlama4([](json* c) { c->erase("attention_chunk_size"); });
  EXPECT_EQ(absent.attention_chunk(), 8192u) << "absent is the default of the class";

  const ModelSpec tempered = LoadLlama4([](json* c) { (*c)["attn_temperature_tuning"] = false; });
  EXPECT_EQ(tempered.temperature_interval(), 0u);
}

TEST(Llama4, BadListsAreRefusedByName) {
  ExpectBadInput([] { LoadLlama4([](json* c) { (*c)["no_rope_layers"] = {1, 0}; }); }, {"no_rope_layers"});
  ExpectBadInput([] { LoadLlama4([](json* c) {
                        (*c)["no_rope_layers"] = {1, 0, 2, 1, 1};
                      }); },
                 {"no_rope_layers", "found 2"});
  ExpectBadInput([] { LoadLlama4([](json* c) { (*c)["moe_layers"] = {1, 9}; }); }, {"moe_layers"});
  ExpectBadInput([] { LoadLlama4([](json* c) { (*c)["layer_types"] = json(5, "sliding_attention"); }); },
                 {"layer_types", "sliding_attention"});
}

TEST(Llama4, ExpertsAreHalvesOfTransposedTensors) {
  const ModelSpec spec = Load(Llama4Path());
  for (const auto& weight : spec.weights()) {
    if (!IsExpertRole(weight.role())) continue;
    const bool down = weight.role() == proto::Weight::EXPERT_DOWN;
    EXPECT_EQ(weight.layout(), proto::Weight::FLOATS_TRANSPOSED);
    EXPECT_EQ(weight.interleave(), down ? 1u : 2u);
    EXPECT_EQ(weight.phase(), weight.role() == proto::Weight::EXPERT_UP ? 1u : 0u);
    EXPECT_EQ(weight.parts(0).line_bytes(), 2 * weight.rows() * weight.interleave());
  }
}

// The directory of the model with eyes: text_config, a prefix before the text's tensors, others beside them.
TEST(Llama4, TheTextModelIsTakenOutOfAVisionModelsDirectory) {
  const TempDir dir;
  json config = {{"model_type", "llama4"}, {"vision_config", {{"hidden_size", 8}}}};
  config["text_config"] = ReadJson(Llama4Path() + "/config.json");
  WriteFile(dir / "config.json", config.dump());
  const std::string file = ReadFile(Llama4Path() + "/model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  const std::string data = file.substr(8 + length);
  json header, old = json::parse(file.substr(8, length));
  for (const auto& [name, tensor] : old.items()) header["language_model." + name] = tensor;
  const size_t end = data.size();
  for (const char* name : {"vision_model.layernorm_pre.weight", "vision_model.layernorm_pre.bias",
                           "multi_modal_projector.linear_1.weight"}) {
    const size_t begin = end + 16 * (header.size() - old.size());
    header[name] = {{"dtype", "BF16"}, {"shape", {8}}, {"data_offsets", {begin, begin + 16}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  WriteFile(dir / "model.safetensors", Raw<uint64_t>(text.size()) + text + data + std::string(48, '\0'));

  ModelSpec spec = Load(dir.path()), plain = Load(Llama4Path());
  EXPECT_EQ(spec.family(), "llama4");
  ASSERT_EQ(spec.weights_size(), plain.weights_size());
  for (int w = 0; w < spec.weights_size(); ++w) EXPECT_EQ(spec.weights(w).name(), plain.weights(w).name());
  for (ModelSpec* one : {&spec, &plain}) {
    one->clear_weights();
    one->clear_files();
    one->clear_file_bytes();
    one->clear_name();
  }
  EXPECT_EQ(spec.DebugString(), plain.DebugString());

  config["text_config"] = 3;
  WriteFile(dir / "config.json", config.dump());
  ExpectBadInput([&] { Load(dir.path()); }, {"text_config", "expected an object"});
}

}  // namespace
}  // namespace onecopy
