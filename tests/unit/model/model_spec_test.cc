// Qwen3-MoE, and what holds for all families: the goldens' own files as oracle, every option, every contradiction.
#include "runtime/model/model_spec.h"

#include <map>
#include <set>

#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using nlohmann::json;
using proto::ModelSpec;
using proto::Weight;

const std::set<Weight::Role> kQkNorms = {Weight::ATTN_Q_NORM, Weight::ATTN_K_NORM};

// The model in the words of its transformers config: the oracle for both formats.
void ExpectLikeConfig(const ModelSpec& spec, const json& config) {
  EXPECT_EQ(spec.hidden_dim(), config["hidden_size"]);
  EXPECT_EQ(spec.n_layers(), config["num_hidden_layers"]);
  EXPECT_EQ(spec.n_heads(), config["num_attention_heads"]);
  EXPECT_EQ(spec.n_kv_heads(), config["num_key_value_heads"]);
  EXPECT_EQ(spec.head_dim(), config["head_dim"]);
  EXPECT_EQ(spec.rope_dims(), config["head_dim"]);
  EXPECT_EQ(spec.n_experts(), config["num_experts"]);
  EXPECT_EQ(spec.n_experts_used(), config["num_experts_per_tok"]);
  EXPECT_EQ(spec.moe_intermediate_dim(), config["moe_intermediate_size"]);
  EXPECT_EQ(spec.vocab_size(), config["vocab_size"]);
  EXPECT_EQ(spec.context_length(), config["max_position_embeddings"]);
  EXPECT_EQ(spec.rms_norm_eps(), config["rms_norm_eps"].get<float>());
  EXPECT_EQ(spec.rope_theta(), config["rope_theta"].get<float>());
  EXPECT_EQ(spec.norm_topk_prob(), config["norm_topk_prob"].get<bool>());
  EXPECT_EQ(spec.tied_embeddings(), config["tie_word_embeddings"].get<bool>());
}

TEST(Qwen3Moe, DirectoriesAndGgufSayWhatTheConfigSays) {
  const std::map<std::string, std::string> config_of = {
      {DataPath("goldens/qwen3_moe"), DataPath("goldens/qwen3_moe")},
      {DataPath("goldens/qwen3_moe_nonorm"), DataPath("goldens/qwen3_moe_nonorm")},
      {DataPath("goldens/gguf/qwen3_moe-Q4_K_M/model.gguf"), DataPath("goldens/qwen3_moe")},
      {DataPath("goldens/gguf/qwen3_moe-Q8_0/model.gguf"), DataPath("goldens/qwen3_moe")},
      {ONECOPY_TEST_TINY_MOE, ONECOPY_TEST_TINY_MOE},
      {ONECOPY_SOURCE_DIR "/models/tiny-moe-q8_0.gguf", ONECOPY_TEST_TINY_MOE},
      {ONECOPY_SOURCE_DIR "/models/tiny-moe-q4_k_m.gguf", ONECOPY_TEST_TINY_MOE},
  };
  for (const auto& [path, config] : config_of) {
    SCOPED_TRACE(path);
    const ModelSpec spec = Load(path);
    EXPECT_EQ(spec.family(), "qwen3moe");
    EXPECT_EQ(spec.rope_style(), ModelSpec::NEOX);
    ExpectLikeConfig(spec, ReadJson(config + "/config.json"));
    ExpectCompleteAndShaped(spec, kQkNorms);
    EXPECT_EQ(spec.intermediate_dim(), 0u);
  }
  EXPECT_FALSE(Load(DataPath("goldens/qwen3_moe_nonorm")).norm_topk_prob());
  EXPECT_EQ(Load(DataPath("goldens/qwen3_moe/")).name(), "qwen3_moe");
  EXPECT_EQ(Load(DataPath("goldens/gguf/qwen3_moe-Q8_0/model.gguf")).name(), "qwen3_moe");
}

TEST(Qwen3Moe, GgufTensorTypesAreThoseOfTheGolden) {
  for (const char* name : {"goldens/gguf/qwen3_moe-Q4_K_M", "goldens/gguf/qwen3_moe-Q8_0"}) {
    const json types = ReadJson(DataPath(std::string(name) + "/golden.json"))["tensor_types"];
    const ModelSpec spec = Load(DataPath(std::string(name) + "/model.gguf"));
    EXPECT_EQ(static_cast<size_t>(spec.weights_size()), types.size());
    for (const Weight& weight : spec.weights()) {
      EXPECT_EQ(kernels::Info(static_cast<kernels::WeightType>(weight.type())).name, types.at(weight.name()));
    }
  }
}

// The norms are stored as F32 in GGUF and BF16 in the directory, both from the same values: so offsets are right.
TEST(Qwen3Moe, BothFormatsPointAtTheSameNormValues) {
  const ModelSpec gguf = Load(DataPath("goldens/gguf/qwen3_moe-Q8_0/model.gguf"));
  const ModelSpec directory = Load(DataPath("goldens/qwen3_moe"));
  const std::string gguf_bytes = ReadFile(gguf.files(0)), directory_bytes = ReadFile(directory.files(0));
  std::map<std::pair<int, uint32_t>, const Weight*> by_role;
  for (const Weight& weight : directory.weights()) {
    if (IsVectorRole(weight.role())) by_role[{weight.role(), weight.layer()}] = &weight;
  }
  size_t compared = 0;
  for (const Weight& weight : gguf.weights()) {
    if (!IsVectorRole(weight.role())) continue;
    const Weight& other = *by_role.at({weight.role(), weight.layer()});
    for (uint64_t i = 0; i < weight.cols(); ++i) {
      uint32_t f32;
      uint16_t bf16;
      std::memcpy(&f32, gguf_bytes.data() + weight.offset() + 4 * i, 4);
      std::memcpy(&bf16, directory_bytes.data() + other.offset() + 2 * i, 2);
      ASSERT_EQ(f32, static_cast<uint32_t>(bf16) << 16) << weight.name() << " " << i;
    }
    ++compared;
  }
  EXPECT_EQ(compared, 1u + 2 * 4);
}

// A qwen3_moe directory with zero weights for exactly the tensors its config asks for.
json SmallConfig() {
  return {{"model_type", "qwen3_moe"}, {"hidden_size", 32},        {"num_hidden_layers", 4},
          {"num_attention_heads", 4},  {"num_key_value_heads", 2}, {"head_dim", 16},
          {"num_experts", 3},          {"num_experts_per_tok", 2}, {"moe_intermediate_size", 24},
          {"intermediate_size", 40},   {"vocab_size", 50},         {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-6},      {"rope_theta", 10000.0},    {"tie_word_embeddings", false}};
}

SafetensorsWriter SmallWeights(const std::set<int>& dense_layers = {}, bool bias = false,
                               bool lm_head = true) {
  SafetensorsWriter writer;
  const auto add = [&](const std::string& name, const std::vector<uint64_t>& shape) {
    writer.Add(name, "BF16", shape);
  };
  add("model.embed_tokens.weight", {50, 32});
  if (lm_head) add("lm_head.weight", {50, 32});
  add("model.norm.weight", {32});
  for (int layer = 0; layer < 4; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    add(at + "input_layernorm.weight", {32});
    add(at + "post_attention_layernorm.weight", {32});
    for (const auto& [name, rows] : {std::pair<std::string, uint64_t>{"q", 64}, {"k", 32}, {"v", 32}}) {
      add(at + "self_attn." + name + "_proj.weight", {rows, 32});
      if (bias) add(at + "self_attn." + name + "_proj.bias", {rows});
    }
    add(at + "self_attn.o_proj.weight", {32, 64});
    add(at + "self_attn.q_norm.weight", {16});
    add(at + "self_attn.k_norm.weight", {16});
    const bool dense = dense_layers.contains(layer);
    if (!dense) add(at + "mlp.gate.weight", {3, 32});
    for (int expert = 0; expert < (dense ? 1 : 3); ++expert) {
      const std::string ffn = at + "mlp." + (dense ? "" : "experts." + std::to_string(expert) + ".");
      const uint64_t width = dense ? 40 : 24;
      add(ffn + "gate_proj.weight", {width, 32});
      add(ffn + "up_proj.weight", {width, 32});
      add(ffn + "down_proj.weight", {32, width});
    }
  }
  return writer;
}

ModelSpec LoadDirectory(const json& config, const SafetensorsWriter& weights) {
  const TempDir dir;
  WriteDirectory(dir, config, weights.Build());
  return Load(dir.path());
}

json ConfigWith(const std::string& key, const json& value) {
  json config = SmallConfig();
  config[key] = value;
  return config;
}

TEST(Qwen3Moe, DenseLayersAreThoseListedOrLeftOutByTheStep) {
  struct Case {
    json listed;
    int step;
    std::set<int> dense;
  };
  for (const Case& one : std::vector<Case>{{json::array(), 1, {}},
                                           {nullptr, 1, {}},
                                           {{0}, 1, {0}},
                                           {{3, 1}, 1, {1, 3}},
                                           {json::array(), 2, {0, 2}},
                                           {{3}, 2, {0, 2, 3}},
                                           {json::array(), 3, {0, 1, 3}}}) {
    json config = ConfigWith("mlp_only_layers", one.listed);
    config["decoder_sparse_step"] = one.step;
    SCOPED_TRACE(config.dump());
    const ModelSpec spec = LoadDirectory(config, SmallWeights(one.dense));
    EXPECT_EQ(std::set<int>(spec.dense_layers().begin(), spec.dense_layers().end()), one.dense);
    EXPECT_EQ(spec.intermediate_dim(), one.dense.empty() ? 0u : 40u);
    ExpectCompleteAndShaped(spec, kQkNorms);
  }
}

TEST(Qwen3Moe, EachExpertOfADirectoryIsAnEntry) {
  const ModelSpec spec = LoadDirectory(SmallConfig(), SmallWeights());
  for (const Weight& weight : spec.weights()) {
    if (!IsExpertRole(weight.role())) continue;
    EXPECT_EQ(weight.n_experts(), 1u);
    EXPECT_THAT(weight.name(), ::testing::HasSubstr(fmt::format("layers.{}.mlp.experts.{}.", weight.layer(),
                                                                weight.first_expert())));
  }
}

TEST(Qwen3Moe, BiasesAreTakenWhereTheConfigSaysSo) {
  std::set<Weight::Role> roles = kQkNorms;
  roles.insert({Weight::ATTN_Q_BIAS, Weight::ATTN_K_BIAS, Weight::ATTN_V_BIAS});
  ExpectCompleteAndShaped(LoadDirectory(ConfigWith("attention_bias", true), SmallWeights({}, true)), roles);

  const auto refused = [](const json& config, const SafetensorsWriter& weights,
                          const std::vector<std::string>& fragments) {
    ExpectBadInput([&] { LoadDirectory(config, weights); }, fragments);
  };
  refused(ConfigWith("attention_bias", true), SmallWeights(),
          {"attention_bias: is true", "q_proj.bias is missing"});
  refused(ConfigWith("attention_bias", false), SmallWeights({}, true),
          {"attention_bias: is false", "q_proj.bias is there"});
  SafetensorsWriter with_o = SmallWeights({}, true);
  with_o.Add("model.layers.0.self_attn.o_proj.bias", "BF16", {32});
  refused(ConfigWith("attention_bias", true), with_o,
          {"3 tensors are missing: model.layers.1.self_attn.o_proj.bias"});
}

TEST(Qwen3Moe, TiedEmbeddingsNeedNoHead) {
  const ModelSpec tied =
      LoadDirectory(ConfigWith("tie_word_embeddings", true), SmallWeights({}, false, false));
  EXPECT_TRUE(tied.tied_embeddings());
  ExpectCompleteAndShaped(tied, kQkNorms);
  // A head that is there all the same is not used.
  ExpectCompleteAndShaped(LoadDirectory(ConfigWith("tie_word_embeddings", true), SmallWeights()), kQkNorms);
  ExpectBadInput([] { LoadDirectory(SmallConfig(), SmallWeights({}, false, false)); },
                 {"1 tensor is missing: lm_head.weight"});
}

TEST(Qwen3Moe, DefaultsAreThoseOfTransformers) {
  json config = SmallConfig();
  EXPECT_FALSE(LoadDirectory(config, SmallWeights()).norm_topk_prob());
  config["num_key_value_heads"] = nullptr;
  config["head_dim"] = nullptr;
  // Now 4 heads of 8 and as many KV heads, which the weights contradict.
  ExpectBadInput(
      [&] { LoadDirectory(config, SmallWeights()); },
      {"q_proj.weight is [64, 32], expected [32, 32]", "16 tensors are of wrong shape", "and 12 more"});
}

TEST(Qwen3Moe, RopeThetaMayStandInRopeParameters) {
  json config = SmallConfig();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 5e6}, {"rope_type", "default"}};
  EXPECT_EQ(LoadDirectory(config, SmallWeights()).rope_theta(), 5e6f);
  config["rope_parameters"]["rope_theta"] = -1;
  ExpectBadInput([&] { LoadDirectory(config, SmallWeights()); }, {"config.json", "rope_theta", "found -1"});
  config["rope_parameters"] = {{"rope_type", "default"}};
  ExpectBadInput([&] { LoadDirectory(config, SmallWeights()); }, {"config.json", "rope_theta: is missing"});
  config["rope_parameters"] = {{"rope_theta", 5e6}, {"rope_type", "longrope"}, {"factor", 4.0}};
  ExpectBadInput([&] { LoadDirectory(config, SmallWeights()); },
                 {"rope_parameters", "longrope", "not supported yet"});
  config["rope_parameters"] = {{"sliding_attention", {{"rope_theta", 1e4}}},
                               {"full_attention", {{"rope_theta", 1e6}}}};
  ExpectBadInput([&] { LoadDirectory(config, SmallWeights()); },
                 {"rope_parameters", "rope that differs from layer to layer"});
}

struct ConfigCase {
  const char* key;
  json value;
  std::vector<std::string> fragments;
};

TEST(Qwen3Moe, RefusesUnsupportedOrAbsurdConfigs) {
  const std::vector<ConfigCase> cases = {
      {"model_type", "qwen9", {"model_type", "\"qwen9\" is not supported yet", "qwen3_moe, qwen2_moe"}},
      {"model_type", 3, {"model_type", "expected a string, found a number"}},
      {"hidden_act", "gelu", {"hidden_act", "expected silu, found gelu"}},
      {"rope_scaling",
       {{"rope_type", "longrope"}, {"factor", 4.0}},
       {"rope_scaling", "longrope", "not supported yet"}},
      {"rope_scaling", {{"type", 3}}, {"rope_scaling", "not supported yet"}},
      {"rope_scaling", {{"type", "linear"}}, {"rope_scaling", "factor: is missing"}},
      {"rope_scaling", {{"type", "dynamic"}, {"factor", 0.5}}, {"rope_scaling", "factor", "at least 1"}},
      {"rope_scaling",
       {{"type", "llama3"},
        {"factor", 8.0},
        {"low_freq_factor", 4.0},
        {"high_freq_factor", 1.0},
        {"original_max_position_embeddings", 32}},
       {"rope_scaling", "high_freq_factor: expected at least low_freq_factor"}},
      {"rope_scaling", {{"factor", 4.0}}, {"rope_scaling", "a factor but no rope_type"}},
      {"rope_scaling", "yarn", {"rope_scaling", "expected an object"}},
      {"use_sliding_window", 1, {"use_sliding_window", "expected true or false"}},
      {"quantization_config",
       {{"quant_method", "bitsandbytes"}},
       {"quantization_config", "bitsandbytes", "not supported", "compressed-tensors, fp8, gptq"}},
      {"partial_rotary_factor", 1.5, {"partial_rotary_factor", "at most 1, found 1.5"}},
      {"norm_topk_prob", "yes", {"norm_topk_prob", "expected true or false"}},
      {"num_hidden_layers", 0, {"num_hidden_layers", "from 1 to 10000, found 0"}},
      {"num_hidden_layers", 1000000, {"num_hidden_layers", "found 1000000"}},
      {"num_hidden_layers", 4.0, {"num_hidden_layers", "expected an integer"}},
      {"num_hidden_layers", "4", {"num_hidden_layers", "expected an integer"}},
      {"num_attention_heads", 0, {"num_attention_heads", "found 0"}},
      {"num_key_value_heads", 0, {"num_key_value_heads", "found 0"}},
      {"num_key_value_heads", 8, {"4 query heads are not a multiple of 8 key-value heads"}},
      {"num_key_value_heads", 3, {"4 query heads are not a multiple of 3 key-value heads"}},
      {"head_dim", 15, {"head_dim", "even number of at most 15 dimensions, found 15"}},
      {"head_dim", 1 << 23, {"num_attention_heads", "are above 16777216"}},
      {"hidden_size", (1 << 24) + 1, {"hidden_size", "found 16777217"}},
      {"vocab_size", 0, {"vocab_size", "found 0"}},
      {"num_experts_per_tok", 4, {"num_experts_per_tok: 4 experts are chosen of only 3"}},
      {"num_experts_per_tok", 0, {"num_experts_per_tok", "found 0"}},
      {"moe_intermediate_size",
       18446744073709551615u,
       {"moe_intermediate_size", "found 18446744073709551615"}},
      {"max_position_embeddings", 0, {"max_position_embeddings", "found 0"}},
      {"rms_norm_eps", 0, {"rms_norm_eps", "above 0, found 0"}},
      {"rms_norm_eps", -1e-6, {"rms_norm_eps", "above 0"}},
      {"rms_norm_eps", "1e-6", {"rms_norm_eps", "above 0"}},
      {"rope_theta", 0, {"rope_theta", "above 0"}},
      {"rope_theta", 1e300, {"rope_theta", "finite number"}},
      {"mlp_only_layers", {4}, {"mlp_only_layers", "from 0 to 3"}},
      {"mlp_only_layers", {-1}, {"mlp_only_layers", "from 0 to 3"}},
      {"mlp_only_layers", 1, {"mlp_only_layers", "expected a list"}},
      {"decoder_sparse_step", 0, {"decoder_sparse_step", "found 0"}},
  };
  for (const ConfigCase& one : cases) {
    SCOPED_TRACE(fmt::format("{}: {}", one.key, one.value.dump()));
    std::vector<std::string> fragments = one.fragments;
    fragments.push_back("config.json: ");
    ExpectBadInput([&] { LoadDirectory(ConfigWith(one.key, one.value), SmallWeights()); }, fragments);
  }
}

TEST(Qwen3Moe, EveryRequiredConfigKeyIsMissedByName) {
  for (const char* key :
       {"model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "num_experts", "num_experts_per_tok", "moe_intermediate_size", "vocab_size",
        "max_position_embeddings", "rms_norm_eps", "rope_theta"}) {
    json config = SmallConfig();
    config.erase(key);
    ExpectBadInput([&] { LoadDirectory(config, SmallWeights()); },
                   {"config.json: ", fmt::format("{}: is missing", key)});
  }
}

TEST(Qwen3Moe, ReportsAllConfigProblemsAtOnce) {
  json config = SmallConfig();
  config.erase("vocab_size");
  config["num_hidden_layers"] = -1;
  config["hidden_act"] = "relu";
  ExpectBadInput(
      [&] { LoadDirectory(config, SmallWeights()); },
      {"vocab_size: is missing", "num_hidden_layers: expected an integer", "hidden_act: expected silu"});
}

TEST(ModelSpec, ReportsAllTensorProblemsAtOnce) {
  SafetensorsWriter weights = SmallWeights();
  SafetensorsWriter changed;
  for (const auto& [name, tensor] : weights.header.items()) {
    if (name.find(".k_norm.") != std::string::npos) continue;
    std::vector<uint64_t> shape = tensor["shape"];
    if (name == "model.norm.weight") shape = {31};
    const bool fp8 = name == "model.layers.2.mlp.experts.1.up_proj.weight";
    changed.Add(name, fp8 ? "F8_E4M3" : "BF16", shape, fp8 ? 1 : 2);
  }
  ExpectBadInput(
      [&] { LoadDirectory(SmallConfig(), changed); },
      {"4 tensors are missing: model.layers.0.self_attn.k_norm.weight",
       "1 tensor is of wrong shape: model.norm.weight is [31], expected [32]",
       "1 tensor is of unusable type: model.layers.2.mlp.experts.1.up_proj.weight is F8_E4M3, expected one "
       "of F32, F16, BF16"});
}

TEST(ModelSpec, IgnoresTensorsThatNothingNeeds) {
  SafetensorsWriter weights = SmallWeights();
  weights.Add("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {8}, 4);
  ExpectCompleteAndShaped(LoadDirectory(SmallConfig(), weights), kQkNorms);
}

TEST(ModelSpec, VectorRolesHaveOneRow) {
  const ModelSpec spec = Load(DataPath("goldens/qwen3_moe"));
  size_t vectors = 0;
  for (const Family& family : AllFamilies()) {
    for (const Family::TensorRow& row : family.tensors) {
      // Only vectors may have one row in this model, none of whose dimensions is 1; only dense FFNs are absent.
      const RoleShape shape = ShapeOfRole(spec, row.role);
      EXPECT_EQ(shape.rows == 1, IsVectorRole(row.role)) << Weight::Role_Name(row.role);
      vectors += IsVectorRole(row.role);
    }
  }
  EXPECT_GT(vectors, 6 * AllFamilies().size());
}

TEST(ModelSpec, FamiliesHaveDistinctNamesAndArchitectures) {
  std::set<std::string> names;
  for (const Family& family : AllFamilies()) {
    EXPECT_TRUE(names.insert(family.name).second);
    if (family.answers != nullptr) continue;  // shares a name with another
    for (const char* name : family.gguf_architectures)
      EXPECT_TRUE(names.insert(std::string("gguf ") + name).second);
    for (const char* name : family.hf_model_types)
      EXPECT_TRUE(names.insert(std::string("hf ") + name).second);
  }
}

}  // namespace
}  // namespace onecopy
