#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/text/tokenizer.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

// Byte-level; "ab" is 256; then <s> 257 and </s> 258, both special.
json ValidTokenizerJson() {
  json vocab;
  for (int byte = 0; byte < 256; ++byte)
    vocab[std::string(ByteToAlphabet(static_cast<uint8_t>(byte)))] = byte;
  vocab["ab"] = 256;
  return {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b"}}}},
          {"added_tokens",
           {{{"id", 257}, {"content", "<s>"}, {"special", true}},
            {{"id", 258}, {"content", "</s>"}, {"special", true}}}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}}};
}

Tokenizer Make(const json& tokenizer, const json& tokenizer_config = nullptr,
               const json& generation = nullptr, const json& model_config = nullptr) {
  return Tokenizer::FromHuggingFace(tokenizer, tokenizer_config, generation, model_config);
}

json Template(const json& single) {
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"special_tokens", {{"<s>", {{"ids", {257}}}}, {"</s>", {{"ids", {258}}}}}}};
}
const json kBos = {{"SpecialToken", {{"id", "<s>"}}}};
const json kEos = {{"SpecialToken", {{"id", "</s>"}}}};
const json kText = {{"Sequence", {{"id", "A"}}}};

TEST(TokenizerHf, MergesMayBeStringsOrPairs) {
  json pairs = ValidTokenizerJson();
  pairs["model"]["merges"] = json::array({json::array({"a", "b"})});
  EXPECT_THAT(Make(ValidTokenizerJson()).Encode("abb", {}), ElementsAre(256, 'b'));
  EXPECT_THAT(Make(pairs).Encode("abb", {}), ElementsAre(256, 'b'));
}

TEST(TokenizerHf, TemplatePutsTokensAroundTheText) {
  json tokenizer = ValidTokenizerJson();
  tokenizer["post_processor"] = {{"type", "Sequence"},
                                 {"processors", {{{"type", "ByteLevel"}}, Template({kBos, kText, kEos})}}};
  EXPECT_THAT(Make(tokenizer).Encode("ab", {}), ElementsAre(257, 256, 258));
  EXPECT_THAT(Make(tokenizer).Encode("ab", {.add_special = false}), ElementsAre(256));
}

TEST(TokenizerHf, AddBosTokenOverridesTheTemplate) {
  const json config = {
      {"bos_token", {{"content", "<s>"}}}, {"add_bos_token", true}, {"add_eos_token", false}};
  EXPECT_THAT(Make(ValidTokenizerJson(), config).Encode("a", {}), ElementsAre(257, 'a'));
  json tokenizer = ValidTokenizerJson();
  tokenizer["post_processor"] = Template({kBos, kText});
  EXPECT_THAT(Make(tokenizer, config).Encode("a", {}), ElementsAre(257, 'a'));  // once
  EXPECT_THAT(Make(tokenizer, {{"bos_token", "<s>"}, {"add_bos_token", false}}).Encode("a", {}),
              ElementsAre('a'));
}

TEST(TokenizerHf, EndsOfGenerationComeFromTheFilesThatKnow) {
  // generation_config before config, and the tokenizer's own end with either.
  EXPECT_THAT(
      Make(ValidTokenizerJson(), {{"eos_token", "</s>"}}, {{"eos_token_id", {7, 5}}}, {{"eos_token_id", 9}})
          .end_of_generation(),
      ElementsAre(5, 7, 258));
  EXPECT_THAT(Make(ValidTokenizerJson(), nullptr, nullptr, {{"eos_token_id", 9}}).end_of_generation(),
              ElementsAre(9));
  // Nobody says: by name.
  EXPECT_THAT(Make(ValidTokenizerJson()).end_of_generation(), ElementsAre(258));
  // Ids that the tokenizer lacks are those of another model's config.
  EXPECT_THAT(Make(ValidTokenizerJson(), nullptr, {{"eos_token_id", {9, 100000}}}).end_of_generation(),
              ElementsAre(9));
}

TEST(TokenizerHf, BosOfConfigCountsUnlessTheTokenizerSaysNull) {
  EXPECT_EQ(Make(ValidTokenizerJson(), nullptr, nullptr, {{"bos_token_id", 257}}).bos(), 257);
  EXPECT_EQ(Make(ValidTokenizerJson(), {{"bos_token", nullptr}}, nullptr, {{"bos_token_id", 257}}).bos(), -1);
}

TEST(TokenizerHf, ChatTemplateIsOneOrSeveralWithNames) {
  EXPECT_EQ(Make(ValidTokenizerJson()).FindChatTemplate("default"), nullptr);
  const Tokenizer one = Make(ValidTokenizerJson(), {{"chat_template", "one"}});
  ASSERT_NE(one.FindChatTemplate("default"), nullptr);
  EXPECT_EQ(*one.FindChatTemplate("default"), "one");
  const json list = {{{"name", "tool_use"}, {"template", "t"}}, {{"name", "default"}, {"template", "d"}}};
  const Tokenizer several = Make(ValidTokenizerJson(), {{"chat_template", list}});
  EXPECT_EQ(*several.FindChatTemplate("default"), "d");
  EXPECT_EQ(*several.FindChatTemplate("tool_use"), "t");
}

TEST(TokenizerHf, AddedTokenMayRepeatAVocabularyEntry) {
  json tokenizer = ValidTokenizerJson();
  tokenizer["added_tokens"].push_back(
      {{"id", 256}, {"content", "ab"}, {"special", false}, {"normalized", false}});
  EXPECT_THAT(Make(tokenizer).Encode("xab", {.parse_special = false}), ElementsAre('x', 256));
}

TEST(TokenizerHf, RefusesWhatItCannotReadAndNamesTheField) {
  const auto with = [](const std::string& pointer, const json& value) {
    json tokenizer = ValidTokenizerJson();
    tokenizer[json::json_pointer(pointer)] = value;
    return tokenizer;
  };
  json nested = {{"type", "NFC"}};
  for (int i = 0; i < 1000; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  const std::vector<std::pair<json, std::string>> cases = {
      {json::object(), "tokenizer.json: model is a null"},
      {json::array(), "tokenizer.json: model is a null"},
      {with("/model", "BPE"), "tokenizer.json: model is a string"},
      {with("/model/type", "Unigram"),
       "'Unigram', a kind of tokenizer that is not supported; supported are BPE"},
      {with("/model/vocab", json::array()), "model.vocab is a array"},
      {with("/model/vocab", json::object()), "model.vocab is a empty object"},
      {with("/model/vocab/ab", 255), "the id 255 belongs to two tokens"},
      {with("/model/vocab/ab", -1), "model.vocab['ab'] is -1"},
      {with("/model/vocab/ab", 1ull << 40), "model.vocab['ab'] is 1099511627776"},
      {with("/model/vocab/ab", 1.0), "model.vocab['ab'] is 1.0"},
      {with("/model/merges", 3), "model.merges is a number"},
      {with("/model/merges/0", "a  b"), "model.merges[0] is neither"},
      {with("/model/merges/0", {"a", "b", "c"}), "model.merges[0] is neither"},
      {with("/model/merges/0", {"a", 5}), "model.merges[0] is neither"},
      {with("/model/merges/0", "a c"), "model.merges[0] needs the token 'ac'"},
      {with("/model/unk_token", "?!"), "model.unk_token is '?!'"},
      {with("/model/byte_fallback", 1), "model.byte_fallback is a number, expected a bool"},
      {with("/model/end_of_word_suffix", "</w>"), "model.end_of_word_suffix is set"},
      {with("/added_tokens", "x"), "added_tokens is a string"},
      {with("/added_tokens/0", 5), "added_tokens[0].content is missing"},
      {with("/added_tokens/1/id", nullptr), "added_tokens[1].id is null"},
      {with("/added_tokens/1/id", 257), "the id 257 belongs to two tokens"},
      {with("/added_tokens/1/content", "ab"), "has two ids, 256 and 258"},
      {with("/added_tokens/0/lstrip", "yes"), "added_tokens[0].lstrip is a string"},
      {with("/normalizer", {{"type", "Precompiled"}}), "normalizer has the type 'Precompiled'"},
      {with("/normalizer", 5), "normalizer has the type '(none)'"},
      {with("/normalizer", nested), "nested too deeply"},
      {with("/pre_tokenizer", {{"type", "BertPreTokenizer"}}),
       "pre_tokenizer has the type 'BertPreTokenizer'"},
      {with("/pre_tokenizer", {{"type", "Sequence"}}), "pre_tokenizer.pretokenizers is a null"},
      {with("/pre_tokenizer", {{"type", "Split"}, {"behavior", "Isolated"}}),
       "pattern has neither String nor Regex"},
      {with("/pre_tokenizer", {{"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "(a"}}}}),
       "'(a' does not compile: missing closing parenthesis"},
      {with("/pre_tokenizer", {{"type", "Split"}, {"behavior", "Sideways"}, {"pattern", {{"Regex", "a"}}}}),
       "'Sideways'"},
      {with("/post_processor", {{"type", "BertProcessing"}}), "post_processor has the type 'BertProcessing'"},
      {with("/post_processor", {{"type", "TemplateProcessing"}, {"single", {kBos}}}),
       "special_tokens has no '<s>'"},
      {with("/decoder", {{"type", "WordPiece"}}), "decoder has the type 'WordPiece'"},
  };
  for (const auto& [tokenizer, message] : cases) {
    EXPECT_THAT(MessageOf(ErrorCode::kBadInput, [&t = tokenizer] { Make(t); }), HasSubstr(message));
  }
  const auto refused = [](const json& config, const json& generation) {
    return MessageOf(ErrorCode::kBadInput, [&] { Make(ValidTokenizerJson(), config, generation); });
  };
  EXPECT_THAT(refused(nullptr, {{"eos_token_id", "x"}}),
              HasSubstr("generation_config.json: eos_token_id is string"));
  EXPECT_THAT(refused(nullptr, {{"eos_token_id", -5}}),
              HasSubstr("generation_config.json: eos_token_id is -5"));
  EXPECT_THAT(refused({{"add_bos_token", true}}, nullptr),
              HasSubstr("add_bos_token is true, but there is no such token"));
}

}  // namespace
}  // namespace onecopy::text
