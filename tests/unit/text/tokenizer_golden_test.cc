// Token ids as the models' own tokenizers give them. Oracles: llama.cpp (vocabularies with .inp and .out) and Hugging
// Face tokenizers 0.23.3 (golden_tokenizer.json, hf_variants.json).
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "runtime/model/checkpoint.h"
#include "runtime/text/tokenizer.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

const std::string kGoldens = ONECOPY_TEST_DATA "/goldens/";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

class GgufVocabulary : public testing::TestWithParam<std::string> {};

TEST_P(GgufVocabulary, GivesLlamaCppsIdsForEveryText) {
  const std::string path = ONECOPY_TEST_TOKENIZERS "/ggml-vocab-" + GetParam() + ".gguf";
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
    EXPECT_EQ(ids, expected) << "text " << cases << ": " << text;
    EXPECT_EQ(tokenizer.Decode(ids, false), text);
  }
  EXPECT_EQ(cases, 46u);
}
INSTANTIATE_TEST_SUITE_P(All, GgufVocabulary, testing::Values("gpt-2", "qwen2", "llama-bpe"),
                         [](const auto& info) {
                           return info.param == "gpt-2"       ? std::string("Gpt2")
                                  : info.param == "llama-bpe" ? std::string("LlamaBpe")
                                                              : std::string("Qwen2");
                         });

void ExpectGolden(const Tokenizer& tokenizer) {
  const nlohmann::json golden = ReadJsonFile(kGoldens + "qwen3_moe/golden_tokenizer.json");
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

TEST(TokenizerGolden, Qwen3MoeFromGguf) {
  ExpectGolden(Tokenizer::FromGguf(OpenCheckpoint(kGoldens + "gguf/qwen3_moe-Q8_0/model.gguf").metadata));
}

TEST(TokenizerGolden, ShippedModelIsTheSameFromBothFormats) {
  const Checkpoint hf = OpenCheckpoint(ONECOPY_TEST_DATA "/tiny-moe");
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
  EXPECT_EQ(a.chat_template(), b.chat_template());
  for (int32_t id = 0; id < a.vocab_size(); ++id) ASSERT_EQ(a.Piece(id), b.Piece(id)) << id;
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
