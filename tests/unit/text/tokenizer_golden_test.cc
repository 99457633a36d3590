// Token ids as the models' own tokenizers give them. Oracles: llama.cpp (vocabularies with .inp and .out) and Hugging
// Face tokenizers 0.23.3 (golden_tokenizer.json, hf_variants.json).
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "runtime/model/checkpoint.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/vocabulary_files.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

const std::string kGoldens = ONECOPY_TEST_DATA "/goldens/";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// path: of a vocabulary with texts (.inp) and ids (.out) beside it. Returns the number of texts.
size_t ExpectLlamaCppsIds(const std::string& path) {
  const Tokenizer tokenizer = Tokenizer::FromGguf(OpenCheckpoint(path).metadata);
  const std::string texts = ReadFile(path + ".inp");
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::istringstream lines(ReadFile(path + ".out"));
  size_t at = 0, cases = 0;
  for (std::string line; std::getline(lines, line); ++cases) {
    const std::string text = texts.substr(at, texts.find(separator, at) - at);
    at += text.size() + separator.size();
    std::istringstream numbers(line);
    const std::vector<int32_t> expected{std::istream_iterator<int32_t>(numbers), {}};
    const std::vector<int32_t> ids = tokenizer.Encode(text, {.add_special = false, .parse_special = false});
    EXPECT_EQ(ids, expected) << path << ", text " << cases << ": " << text;
    EXPECT_EQ(tokenizer.Decode(ids, false), text) << path;
  }
  return cases;
}

class GgufVocabulary : public testing::TestWithParam<std::string> {};

TEST_P(GgufVocabulary, GivesLlamaCppsIdsForEveryText) {
  EXPECT_EQ(ExpectLlamaCppsIds(ONECOPY_TEST_TOKENIZERS "/ggml-vocab-" + GetParam() + ".gguf"), 46u);
}
INSTANTIATE_TEST_SUITE_P(All, GgufVocabulary, testing::Values("gpt-2", "qwen2", "llama-bpe"),
                         [](const auto& info) {
                           return info.param == "gpt-2"       ? std::string("Gpt2")
                                  : info.param == "llama-bpe" ? std::string("LlamaBpe")
                                                              : std::string("Qwen2");
                         });

// Vocabularies whose licences keep them out of this tree: those of a folder that ONECOPY_TEST_VOCABULARIES names.
TEST(TokenizerGolden, OtherVocabulariesGiveLlamaCppsIds) {
  const char* folder = std::getenv("ONECOPY_TEST_VOCABULARIES");
  if (folder == nullptr)
    GTEST_SKIP() << "ONECOPY_TEST_VOCABULARIES names no folder of X.gguf, X.gguf.inp, X.gguf.out";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!std::filesystem::exists(entry.path().string() + ".inp")) continue;
    EXPECT_GT(ExpectLlamaCppsIds(entry.path()), 40u) << entry.path();
  }
}

void ExpectGolden(const Tokenizer& tokenizer, const std::string& folder = kGoldens + "qwen3_moe") {
  const nlohmann::json golden = ReadJsonFile(folder + "/golden_tokenizer.json");
  ASSERT_EQ(golden["cases"].size(), 15u);
  for (const nlohmann::json& c : golden["cases"]) {
    const auto text = c["text"].get<std::string>();
    EXPECT_EQ(nlohmann::json(tokenizer.Encode(text, {})), c["ids"]) << c["text"];
    const std::vector<int32_t> ids = tokenizer.Encode(text, {.add_special = false});
    EXPECT_EQ(nlohmann::json(ids), c["ids_without_added_special_tokens"]) << c["text"];
    EXPECT_EQ(tokenizer.Decode(ids, /*skip_special=*/false), c["decoded"].get<std::string>());
  }
  const nlohmann::json& chat = golden["chat"];
  EXPECT_EQ(nlohmann::json(tokenizer.Encode(chat["text"].get<std::string>(), {.add_special = false})),
            chat["ids"]);
}

TEST(TokenizerGolden, Qwen3MoeFromTokenizerJson) {
  const Checkpoint c = OpenCheckpoint(kGoldens + "qwen3_moe");
  ExpectGolden(Tokenizer::FromHuggingFace(c.tokenizer, c.tokenizer_config, c.generation_config, c.metadata));
}

// The same for each folder of a model in the one that ONECOPY_TEST_MODELS names.
TEST(TokenizerGolden, OtherModelsFromTokenizerJson) {
  const char* models = std::getenv("ONECOPY_TEST_MODELS");
  if (models == nullptr)
    GTEST_SKIP() << "ONECOPY_TEST_MODELS names no folder of models with golden_tokenizer.json";
  for (const auto& entry : std::filesystem::directory_iterator(models)) {
    if (!std::filesystem::exists(entry.path() / "golden_tokenizer.json")) continue;
    SCOPED_TRACE(entry.path());
    const Checkpoint c = OpenCheckpoint(entry.path());
    ExpectGolden(Tokenizer::FromHuggingFace(c.tokenizer, c.tokenizer_config, c.generation_config, c.metadata),
                 entry.path());
  }
}

TEST(TokenizerGolden, Qwen3MoeFromGguf) {
  ExpectGolden(Tokenizer::FromGguf(OpenCheckpoint(kGoldens + "gguf/qwen3_moe-Q8_0/model.gguf").metadata));
}

TEST(TokenizerGolden, ShippedModelIsTheSameFromBothFormats) {
  const Checkpoint hf = OpenCheckpoint(ONECOPY_TEST_TINY_MOE);
  const Tokenizer a =
      Tokenizer::FromHuggingFace(hf.tokenizer, hf.tokenizer_config, hf.generation_config, hf.metadata);
  const Tokenizer b =
      Tokenizer::FromGguf(OpenCheckpoint(ONECOPY_SOURCE_DIR "/models/tiny-moe-q8_0.gguf").metadata);
  const std::string text = ReadFile(ONECOPY_SOURCE_DIR "/models/eval.txt");
  const std::vector<int32_t> ids = a.Encode(text, {});
  EXPECT_GT(ids.size(), 10000u);
  EXPECT_EQ(b.Encode(text, {}), ids);
  EXPECT_EQ(a.Decode(ids, false), text);
  EXPECT_EQ(a.end_of_generation(), b.end_of_generation());
  EXPECT_EQ(a.eos(), b.eos());
  EXPECT_EQ(a.chat_templates(), b.chat_templates());
  for (int32_t id = 0; id < a.vocab_size(); ++id) ASSERT_EQ(a.Piece(id), b.Piece(id)) << id;

  nlohmann::json written =
      MetadataOfTokenizerJson(hf.tokenizer, hf.tokenizer_config, hf.generation_config, hf.metadata, 1 << 20);
  AddUnusedTokens(a.vocab_size() + 3, &written);
  const Tokenizer c = Tokenizer::FromGguf(written);
  EXPECT_EQ(c.Encode(text, {}), ids);
  EXPECT_EQ(c.end_of_generation(), a.end_of_generation());
  EXPECT_EQ(c.eos(), a.eos());
  EXPECT_EQ(c.bos(), a.bos());
  EXPECT_EQ(c.chat_templates(), a.chat_templates());
  EXPECT_EQ(c.vocab_size(), a.vocab_size() + 3);
}

// Names whose models' vocabularies are not here, with GPT-2's: ids by llama.cpp (text/make_pre_names.py).
TEST(TokenizerGolden, PreTokenizersCutAsLlamaCppDoes) {
  const nlohmann::json file = ReadJsonFile(ONECOPY_TEST_DATA "/text/pre_names.json");
  nlohmann::json metadata = OpenCheckpoint(ONECOPY_TEST_TOKENIZERS "/ggml-vocab-gpt-2.gguf").metadata;
  ASSERT_GE(file["ids"].size(), 11u);
  for (const auto& [name, ids] : file["ids"].items()) {
    metadata["tokenizer.ggml.pre"] = name;
    const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i].is_null()) continue;  // llama.cpp cuts otherwise than the published tokenizer
      const std::string text = file["texts"][i];
      EXPECT_EQ(nlohmann::json(tokenizer.Encode(text, {.add_special = false, .parse_special = false})),
                ids[i])
          << name << ": " << text;
    }
  }
}

// What a GGUF file says in place of a tokenizer.json gives the same ids, or there is none.
TEST(TokenizerGolden, AsGgufKeysATokenizerIsTheSameOrRefused) {
  const nlohmann::json base = ReadJsonFile(kGoldens + "qwen3_moe/tokenizer.json");
  const nlohmann::json file = ReadJsonFile(ONECOPY_TEST_DATA "/text/hf_variants.json");
  const std::string gpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  const auto isolated = [](const std::string& pattern) {
    return nlohmann::json{
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
  };
  const nlohmann::json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const nlohmann::json split_gpt2 = {{"type", "Sequence"}, {"pretokenizers", {isolated(gpt2), bytes}}};
  const nlohmann::json unknown = {{"type", "Sequence"},
                                  {"pretokenizers", {isolated(R"(\p{N}{1,4})"), isolated(gpt2), bytes}}};
  std::vector<std::pair<std::string, nlohmann::json>> replacements = {
      {"as it is", nlohmann::json::object()},
      {"GPT-2's", {{"pre_tokenizer", split_gpt2}, {"normalizer", nullptr}}},
      {"of no name", {{"pre_tokenizer", unknown}, {"normalizer", nullptr}}}};
  for (const nlohmann::json& variant : file["variants"])
    replacements.emplace_back(variant["name"], variant["replace"]);
  size_t same = 0;
  for (const auto& [name, replace] : replacements) {
    SCOPED_TRACE(name);
    nlohmann::json tokenizer_json = base, metadata;
    tokenizer_json.update(replace);
    try {
      metadata = MetadataOfTokenizerJson(tokenizer_json, nullptr, nullptr, nullptr, 4096);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadInput);
      EXPECT_TRUE(name != "as it is" && name != "GPT-2's") << error.what();
      continue;
    }
    ++same;
    EXPECT_NE(name, "of no name");
    const Tokenizer a = Tokenizer::FromHuggingFace(tokenizer_json, nullptr, nullptr, nullptr);
    const Tokenizer b = Tokenizer::FromGguf(metadata);
    for (const nlohmann::json& variant : file["variants"])
      for (const nlohmann::json& c : variant["cases"])
        ASSERT_EQ(b.Encode(c["text"].get<std::string>(), {}), a.Encode(c["text"].get<std::string>(), {}))
            << c["text"];
  }
  EXPECT_GE(same, 2u);
}

// Every setting of every component that is supported beyond what the models above use.
TEST(TokenizerGolden, ComponentsActAsInHuggingFace) {
  const nlohmann::json base = ReadJsonFile(kGoldens + "qwen3_moe/tokenizer.json");
  const nlohmann::json file = ReadJsonFile(ONECOPY_TEST_DATA "/text/hf_variants.json");
  ASSERT_EQ(file["variants"].size(), 22u);
  for (const nlohmann::json& variant : file["variants"]) {
    nlohmann::json tokenizer_json = base;
    tokenizer_json.update(variant["replace"]);
    const Tokenizer tokenizer = Tokenizer::FromHuggingFace(tokenizer_json, nullptr, nullptr, nullptr);
    for (const nlohmann::json& c : variant["cases"]) {
      const std::vector<int32_t> ids = tokenizer.Encode(c["text"].get<std::string>(), {});
      EXPECT_EQ(nlohmann::json(ids), c["ids"]) << variant["name"] << ": " << c["text"];
      EXPECT_EQ(nlohmann::json(tokenizer.Decode(ids, false)), c["decoded"])
          << variant["name"] << ": " << c["text"];
    }
  }
}

}  // namespace
}  // namespace onecopy::text
