// tokenizer.model and tiktoken.model. Oracles: sentencepiece and tiktoken (vocabulary_files.json).
#include "runtime/text/vocabulary_files.h"

#include <gtest/gtest.h>

#include "runtime/text/tokenizer.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using nlohmann::json;

std::string FromBase64(const std::string& text) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0, n = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(alphabet.find(c));
    if ((n += 6) >= 8) bytes += static_cast<char>(bits >> (n -= 8) & 0xFF);
  }
  return bytes;
}

const json& Data() {
  static const json data = ReadJsonFile(ONECOPY_TEST_DATA "/text/vocabulary_files.json");
  return data;
}

void ExpectCases(const Tokenizer& tokenizer, const json& cases) {
  EXPECT_GT(cases.size(), 40u);
  for (const json& c : cases) {
    const auto text = c[0].get<std::string>();
    const std::vector<int32_t> ids = tokenizer.Encode(text, {.add_special = false});
    EXPECT_EQ(json(ids), c[1]) << c[0];
    EXPECT_EQ(tokenizer.Decode(ids, false), text);
  }
}

TEST(SentencePieceFile, GivesTheIdsOfSentencePiece) {
  json metadata = MetadataOfSentencePiece(FromBase64(Data()["sentencepiece"]["model"]));
  AddConfigs({{"chat_template", "t"}, {"add_bos_token", false}}, {{"eos_token_id", {2, 5}}}, &metadata);
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  ExpectCases(tokenizer, Data()["sentencepiece"]["cases"]);
  EXPECT_EQ(tokenizer.bos(), 1);
  EXPECT_TRUE(tokenizer.IsEndOfGeneration(2));
  EXPECT_TRUE(tokenizer.IsEndOfGeneration(5));
  EXPECT_EQ(*tokenizer.FindChatTemplate("default"), "t");
}

TEST(SentencePieceFile, RefusesUnigramByName) {
  const std::string model = FromBase64(Data()["unigram"]);
  EXPECT_NE(MessageOf(ErrorCode::kBadInput, [&] { MetadataOfSentencePiece(model); }).find("Unigram"),
            std::string::npos);
}

TEST(SentencePieceFile, SurvivesDamage) {
  const std::string model = FromBase64(Data()["sentencepiece"]["model"]);
  for (size_t i = 0; i < model.size(); i += 41) {
    std::string damaged = model;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    for (const std::string& bytes : {damaged, model.substr(0, i)}) {
      try {
        Tokenizer::FromGguf(MetadataOfSentencePiece(bytes));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kBadInput);
      }
    }
  }
}

TEST(TiktokenFile, GivesTheIdsOfTiktoken) {
  const json& config = Data()["tiktoken"]["tokenizer_config"];
  json metadata = MetadataOfTiktoken(Data()["tiktoken"]["model"].get<std::string>(), config);
  AddConfigs(config, {{"eos_token_id", 503}}, &metadata);
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  ExpectCases(tokenizer, Data()["tiktoken"]["cases"]);
  EXPECT_EQ(tokenizer.bos(), 500);
  EXPECT_EQ(tokenizer.eos(), 501);
  EXPECT_TRUE(tokenizer.IsEndOfGeneration(503));
}

TEST(TiktokenFile, RefusesWhatItCannotReadAndOtherModelsCode) {
  const json& config = Data()["tiktoken"]["tokenizer_config"];
  for (const char* text : {"YQ== 1\n", "YQ==\n", "Y*== 0\n", "YQ== 0\nYQ 7\n", " 0\n", "\xFF\xFF 0"})
    MessageOf(ErrorCode::kBadInput, [&] { MetadataOfTiktoken(text, config); });
  const json other = {{"auto_map", {{"AutoTokenizer", {"tokenization_qwen.QWenTokenizer", nullptr}}}}};
  EXPECT_NE(MessageOf(ErrorCode::kBadInput, [&] { MetadataOfTiktoken("YQ== 0\n", other); })
                .find("tokenization_qwen"),
            std::string::npos);
}

}  // namespace
}  // namespace onecopy::text
