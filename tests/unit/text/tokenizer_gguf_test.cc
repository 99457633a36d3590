#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/text/tokenizer.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

// "ab" is 256, "abc" 257; then <s> 258, <|im_end|> 259, <|endoftext|> 260.
json Valid() {
  return ByteLevelMetadata({"a b", "ab c"}, {"<s>", "<|im_end|>", "<|endoftext|>"});
}

std::string WhyRefused(const json& metadata) {
  return MessageOf(ErrorCode::kBadInput, [&] { Tokenizer::FromGguf(metadata); });
}

TEST(TokenizerGguf, MergesInOrderOfRank) {
  const Tokenizer tokenizer = Tokenizer::FromGguf(Valid());
  EXPECT_THAT(tokenizer.Encode("abcabb", {}), ElementsAre(257, 256, 'b'));
  EXPECT_EQ(tokenizer.Piece(257), "abc");
}

TEST(TokenizerGguf, ParsesSpecialTokensOnlyWhenAllowed) {
  const Tokenizer tokenizer = Tokenizer::FromGguf(Valid());
  EXPECT_THAT(tokenizer.Encode("ab<|im_end|>c", {.parse_special = true}), ElementsAre(256, 259, 'c'));
  const std::vector<int32_t> spelled = tokenizer.Encode("<|im_end|>", {.parse_special = false});
  EXPECT_EQ(spelled.size(), 10u);
  EXPECT_EQ(tokenizer.Decode(spelled, /*skip_special=*/true), "<|im_end|>");
  EXPECT_EQ(tokenizer.Decode(std::vector<int32_t>{259, 'c'}, /*skip_special=*/true), "c");
}

TEST(TokenizerGguf, FindsUserDefinedTokensInEveryText) {
  json metadata = Valid();
  metadata["tokenizer.ggml.token_type"][258] = 4;
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  EXPECT_THAT(tokenizer.Encode("<s>a", {.parse_special = false}), ElementsAre(258, 'a'));
  EXPECT_FALSE(tokenizer.is_special(258));
}

TEST(TokenizerGguf, AddsBosAndEosAsTheFileSays) {
  json metadata = Valid();
  metadata["tokenizer.ggml.bos_token_id"] = 258;
  metadata["tokenizer.ggml.eos_token_id"] = 260;
  EXPECT_THAT(Tokenizer::FromGguf(metadata).Encode("a", {}), ElementsAre('a'));
  metadata["tokenizer.ggml.add_bos_token"] = true;
  metadata["tokenizer.ggml.add_eos_token"] = true;
  EXPECT_THAT(Tokenizer::FromGguf(metadata).Encode("a", {}), ElementsAre(258, 'a', 260));
  EXPECT_THAT(Tokenizer::FromGguf(metadata).Encode("", {}), ElementsAre(258, 260));
  EXPECT_THAT(Tokenizer::FromGguf(metadata).Encode("a", {.add_special = false}), ElementsAre('a'));
}

TEST(TokenizerGguf, Llama3AddsBosWhereTheFileDoesNotSay) {
  json metadata = Valid();
  metadata["tokenizer.ggml.pre"] = "llama-bpe";
  metadata["tokenizer.ggml.bos_token_id"] = 258;
  EXPECT_THAT(Tokenizer::FromGguf(metadata).Encode("a", {}), ElementsAre(258, 'a'));
}

TEST(TokenizerGguf, IgnoreMergesTakesWholeWordsThatAreTokens) {
  json metadata = Valid();
  metadata["tokenizer.ggml.tokens"].push_back("xyz");  // 261, made by no merge
  metadata["tokenizer.ggml.token_type"].push_back(1);
  EXPECT_THAT(Tokenizer::FromGguf(metadata).Encode("xyz", {}), ElementsAre('x', 'y', 'z'));
  metadata["tokenizer.ggml.pre"] = "llama3";
  EXPECT_THAT(Tokenizer::FromGguf(metadata).Encode("xyz", {}), ElementsAre(261));
}

TEST(TokenizerGguf, EndsOfGenerationAreKeysAndWellKnownNames) {
  json metadata = Valid();
  metadata["tokenizer.ggml.eot_token_id"] = 258;
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  EXPECT_THAT(tokenizer.end_of_generation(), ElementsAre(258, 259, 260));
  EXPECT_TRUE(tokenizer.IsEndOfGeneration(259));
  EXPECT_FALSE(tokenizer.IsEndOfGeneration('a'));
  EXPECT_EQ(tokenizer.eot(), 258);
  EXPECT_EQ(tokenizer.eos(), -1);
}

TEST(TokenizerGguf, OrdinaryWordWithTheNameOfAnEndDoesNotEndGeneration) {
  json metadata = Valid();
  metadata["tokenizer.ggml.token_type"][259] = 1;
  EXPECT_THAT(Tokenizer::FromGguf(metadata).end_of_generation(), ElementsAre(260));
}

TEST(TokenizerGguf, EndOfMessageDoesNotEndHarmonyGeneration) {
  const auto ends = [](const std::vector<std::string>& control) {
    return Tokenizer::FromGguf(ByteLevelMetadata({}, control)).end_of_generation();
  };
  EXPECT_THAT(ends({"<|end|>", "<|return|>", "<|call|>"}), ElementsAre(257, 258));
  EXPECT_THAT(ends({"<|end|>", "<|user|>"}), ElementsAre(256));
}

TEST(TokenizerGguf, IdPastTheVocabularyHasNoPieceAndIsNotSpecial) {
  const Tokenizer tokenizer = Tokenizer::FromGguf(Valid());
  EXPECT_EQ(tokenizer.vocab_size(), 261);
  for (const int32_t id : {-1, 261, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer.Piece(id), "");
    EXPECT_FALSE(tokenizer.is_special(id));
  }
}

TEST(TokenizerGguf, WrongBytesInATextCountAsReplacementCharacters) {
  const Tokenizer tokenizer = Tokenizer::FromGguf(Valid());
  EXPECT_THAT(tokenizer.Encode("a\xFF", {}), ElementsAre('a', 0xEF, 0xBF, 0xBD));
  EXPECT_EQ(tokenizer.Encode("\xE4\xB8", {}), tokenizer.Encode("\xEF\xBF\xBD", {}));
}

// Sentencepiece: joined while the joined text is a token, highest score first.
TEST(TokenizerGguf, SentencePieceJoinsByScoreAndFallsBackToBytes) {
  json metadata = {
      {"tokenizer.ggml.model", "llama"},
      {"tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "<0xC3>", "<0xA9>", "▁", "a", "b", "▁a", "ab"}},
      {"tokenizer.ggml.token_type", {2, 3, 3, 6, 6, 1, 1, 1, 1, 1}},
      {"tokenizer.ggml.scores", {0, 0, 0, 0, 0, -9, -9, -9, -2.0, -1.0}},
      {"tokenizer.ggml.bos_token_id", 1},
      {"tokenizer.ggml.eos_token_id", 2},
      {"tokenizer.ggml.unknown_token_id", 0}};
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  EXPECT_THAT(tokenizer.Encode("ab", {}), ElementsAre(1, 5, 9));         // "ab" beats "▁a"
  EXPECT_THAT(tokenizer.Encode("a é", {}), ElementsAre(1, 8, 5, 3, 4));  // é as bytes
  EXPECT_THAT(tokenizer.Encode("x", {}), ElementsAre(1, 5, 0));          // no byte token: unknown
  EXPECT_EQ(tokenizer.Decode(std::vector<int32_t>{8, 5, 3, 4}, false), "a é");
  metadata["tokenizer.ggml.add_space_prefix"] = false;
  EXPECT_THAT(Tokenizer::FromGguf(metadata).Encode("ab", {}), ElementsAre(1, 9));
}

TEST(TokenizerGguf, RefusesWhatItCannotReadAndNamesTheField) {
  const auto with = [](const std::string& key, const json& value) {
    json metadata = Valid();
    metadata["tokenizer.ggml." + key] = value;
    return metadata;
  };
  const auto set = [](const std::string& key, size_t index, const json& value) {
    json metadata = Valid();
    metadata["tokenizer.ggml." + key][index] = value;
    return metadata;
  };
  const std::vector<std::pair<json, std::string>> cases = {
      {json::object(), "tokenizer.ggml.model is missing"},
      {json(nullptr), "tokenizer.ggml.model is missing"},
      {with("model", 5), "tokenizer.ggml.model is a number, expected a string"},
      {with("model", "t5"), "'t5', a kind of tokenizer that is not supported; supported are gpt2, llama"},
      {with("model", "llama"), "tokenizer.ggml.scores is a missing key"},
      {with("pre", "nobody"), "'nobody', a pre-tokenizer that is not supported; supported are gpt-2"},
      {with("pre", "gemma4"), "'gemma4', a pre-tokenizer that is not supported: its merges join characters"},
      {with("pre", "sarvam-moe"), "not supported: its merges join characters, with spaces written as U+2581"},
      {with("pre", "jina-v2-code"), "not supported: it is of a model of embeddings"},
      {with("pre", json::array()), "tokenizer.ggml.pre is a array"},
      {with("tokens", "abc"), "tokenizer.ggml.tokens is a string, expected an array"},
      {with("tokens", json::array()), "tokenizer.ggml.tokens has 0 entries"},
      {with("tokens", nullptr), "tokenizer.ggml.tokens is a missing key"},
      {set("tokens", 7, 7), "tokenizer.ggml.tokens[7] is a number, expected a string"},
      {set("tokens", 7, "a"), "has two ids, 7 and 97"},
      {with("token_type", {1, 2}), "tokenizer.ggml.token_type has 2 entries, expected 261"},
      {with("token_type", 3), "tokenizer.ggml.token_type is a number"},
      {set("token_type", 4, 7), "tokenizer.ggml.token_type[4]"},
      {set("token_type", 4, -1), "tokenizer.ggml.token_type[4]"},
      {set("token_type", 4, 1.5), "tokenizer.ggml.token_type[4]"},
      {with("merges", nullptr), "tokenizer.ggml.merges is a missing key"},
      {with("merges", "a b"), "tokenizer.ggml.merges is a string"},
      {set("merges", 1, 5), "tokenizer.ggml.merges[1] is not a string of two tokens"},
      {set("merges", 1, "ab"), "tokenizer.ggml.merges[1] is not a string of two tokens"},
      {set("merges", 1, "ab "), "tokenizer.ggml.merges[1] is not a string of two tokens"},
      {set("merges", 1, "no such"), "tokenizer.ggml.merges[1] needs the token 'no'"},
      {set("merges", 1, "c d"), "tokenizer.ggml.merges[1] needs the token 'cd'"},
      {with("bos_token_id", 261), "tokenizer.ggml.bos_token_id is 261, expected a token id from 0 to 260"},
      {with("eos_token_id", -1), "tokenizer.ggml.eos_token_id is -1"},
      {with("eot_token_id", UINT64_MAX), "tokenizer.ggml.eot_token_id is 18446744073709551615"},
      {with("eom_token_id", "259"), "tokenizer.ggml.eom_token_id is string"},
      {with("unknown_token_id", 1e9), "tokenizer.ggml.unknown_token_id is 1000000000.0"},
      {with("add_bos_token", true),
       "tokenizer.ggml.add_bos_token is true, but tokenizer.ggml.bos_token_id is missing"},
      {with("add_eos_token", 1), "tokenizer.ggml.add_eos_token is a number, expected a bool"},
  };
  for (const auto& [metadata, message] : cases) EXPECT_THAT(WhyRefused(metadata), HasSubstr(message));
}

TEST(TokenizerGguf, RefusesScoresThatAreNoNumbers) {
  json metadata = Valid();
  metadata["tokenizer.ggml.model"] = "llama";
  metadata["tokenizer.ggml.scores"] = std::vector<float>(261, 0.0f);
  EXPECT_NO_THROW(Tokenizer::FromGguf(metadata));
  metadata["tokenizer.ggml.scores"][9] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(WhyRefused(metadata), HasSubstr("tokenizer.ggml.scores[9]"));
  metadata["tokenizer.ggml.scores"][9] = "x";
  EXPECT_THAT(WhyRefused(metadata), HasSubstr("tokenizer.ggml.scores[9]"));
  metadata["tokenizer.ggml.scores"].erase(0);
  EXPECT_THAT(WhyRefused(metadata), HasSubstr("tokenizer.ggml.scores has 260 entries, expected 261"));
}

TEST(TokenizerGguf, MessagesHoldNoControlCharactersOfTheFile) {
  json metadata = Valid();
  metadata["tokenizer.ggml.pre"] = "\x1B[2J\xFF";
  EXPECT_THAT(WhyRefused(metadata), HasSubstr("'\\x1b[2J\\xff'"));
  // Of a merge whose token is not there, the bytes came out as they were.
  metadata = Valid();
  metadata["tokenizer.ggml.merges"][1] = "\xC4 \x1B";
  EXPECT_THAT(WhyRefused(metadata), HasSubstr("needs the token '\\xc4'"));
}

}  // namespace
}  // namespace onecopy::text
