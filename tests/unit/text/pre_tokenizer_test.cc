#include "runtime/text/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <sstream>

#include "runtime/text/normalizer.h"
#include "runtime/text/pretokenizer_table.h"
#include "runtime/text/tokenizer.h"
#include "tests/support/processor_time.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = PreTokenizerStep::Kind;

std::vector<std::string> Split(const std::string& name, std::string_view text) {
  std::vector<PreTokenizerStep> steps;
  for (const std::string_view pattern : FindPreTokenizer(name)->patterns) {
    if (!pattern.empty()) steps.push_back({Kind::kIsolate, Regex(pattern, name), {}});
  }
  RegexScratch scratch;
  const Words words = SplitIntoWords(steps, text, true, scratch);
  return {words.pieces.begin(), words.pieces.end()};
}

std::vector<std::string> AllNames() {
  std::vector<std::string> names;
  std::istringstream list(PreTokenizerNames());
  for (std::string name; std::getline(list, name, ',');)
    names.push_back(name.substr(name.find_first_not_of(' ')));
  return names;
}

TEST(PreTokenizerTable, EveryNameIsFoundOnce) {
  std::vector<std::string> names = AllNames();
  EXPECT_GE(names.size(), 40u);
  for (const std::string& name : names) ASSERT_NE(FindPreTokenizer(name), nullptr) << name;
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_EQ(FindPreTokenizer(""), nullptr);
  EXPECT_EQ(FindPreTokenizer("qwen"), nullptr);
}

TEST(PreTokenizerTable, EveryPreTokenizerKeepsEveryByte) {
  const std::string text =
      "Hello  world's 12345\r\n\n  é中文x한국 \t!?<|x|>  ñ\u0301 X'LL \u00a0\u3000٣²\n  ";
  for (const std::string& name : AllNames()) {
    const std::vector<std::string> words = Split(name, text);
    EXPECT_EQ(std::accumulate(words.begin(), words.end(), std::string()), text) << name;
    EXPECT_GT(words.size(), 5u) << name;
  }
}

// What sets the models apart, by their published patterns.
TEST(PreTokenizerTable, ModelsDifferInDigitsHanCaseAndMarks) {
  EXPECT_THAT(Split("gpt-2", "a 12345"), ElementsAre("a", " 12345"));
  EXPECT_THAT(Split("qwen2", "12345"), ElementsAre("1", "2", "3", "4", "5"));
  EXPECT_THAT(Split("llama3", "12345"), ElementsAre("123", "45"));
  EXPECT_THAT(Split("deepseek-v3", "a中文12345"), ElementsAre("a", "中文", "123", "45"));
  EXPECT_THAT(Split("gpt-4o", "helloWorld IT's/\n"), ElementsAre("hello", "World", " IT's", "/\n"));
  EXPECT_THAT(Split("tekken", "helloWorld 12"), ElementsAre("hello", "World", " ", "1", "2"));
  EXPECT_THAT(Split("kimi-k2", "中文English混合"), ElementsAre("中文", "English", "混合"));
  EXPECT_THAT(Split("qwen35", "e\u0301a"), ElementsAre("e\u0301a"));
  EXPECT_THAT(Split("qwen2", "e\u0301a"), ElementsAre("e", "\u0301a"));
  EXPECT_THAT(Split("glm4", "I'LL"), ElementsAre("I", "'LL"));
  EXPECT_THAT(Split("starcoder", "a1234"), ElementsAre("a", "1", "2", "3", "4"));
  EXPECT_THAT(Split("deepseek-llm", " ab\ncd"), ElementsAre(" ab", "\n", "cd"));
}

TEST(PreTokenizerTable, NoPreTokenizerHangsOnLongRuns) {
  const std::string units[] = {"a",  " ",   "\n",  "1",      "中",       "!",     "'",
                               "aA", "\t ", " \n", "\u0308", "a\u0308A", "\u00a0"};
  const std::vector<NormalizerStep> form_c = {{NormalizerStep::Kind::kNfc, {}, {}}};
  for (const std::string& name : AllNames()) {
    const bool nfc = FindPreTokenizer(name)->nfc;
    nlohmann::json metadata = ByteLevelMetadata({}, {});
    metadata["tokenizer.ggml.pre"] = name;
    const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
    for (const std::string& unit : units) {
      std::string text;
      while (text.size() < 40'000) text += unit;
      text += "x";
      const double seconds = test::ThreadSeconds([&] {
        EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, {}), false), nfc ? Normalize(form_c, text) : text)
            << name << " " << unit;
      });
      EXPECT_LT(seconds, 5) << name << " " << unit;
    }
  }
}

TEST(Regex, HostilePatternFailsInsteadOfHanging) {
  const Regex regex("(a+)+$", "field");
  RegexScratch scratch;
  const std::string message =
      MessageOf(ErrorCode::kBadInput, [&] { regex.Find(std::string(40, 'a') + "b", 0, scratch); });
  EXPECT_THAT(
      message,
      HasSubstr("field: splitting a text of 41 bytes into words fails at byte 0: match limit exceeded"));
}

TEST(Regex, RefusesWhatMeansSomethingElseInTheReference) {
  const auto why = [](const char* pattern) {
    return MessageOf(ErrorCode::kBadInput, [pattern] { TranslateRegex(pattern, "field"); });
  };
  EXPECT_THAT(why("\\h+"), HasSubstr("\\h (a hexadecimal digit"));
  EXPECT_THAT(why("[a[bc]]"), HasSubstr("a class within a class"));
  EXPECT_THAT(why("[a&&b]"), HasSubstr("'&&' without a class"));
  EXPECT_THAT(why("[a&&[b]&&[c]]"), HasSubstr("more than two classes"));
  EXPECT_THAT(why("[^a&&[b]]"), HasSubstr("intersection of a negated class"));
  EXPECT_THAT(why("[abc"), HasSubstr("'[' without ']'"));
  EXPECT_THAT(why("abc\\"), HasSubstr("a backslash without a character"));
  EXPECT_THAT(MessageOf(ErrorCode::kBadInput, [] { Regex("\\C", "field"); }), HasSubstr("does not compile"));
}

TEST(Regex, WhiteSpaceIsUnicodesWithoutTheMongolianVowelSeparator) {
  const Regex space("\\s", "field"), other("[^\\s]", "field");
  RegexScratch scratch;
  for (const char* text : {" ", "\t", "\x0B", "\u0085", "\u00a0", "\u2003", "\u2028", "\u3000"}) {
    EXPECT_TRUE(space.Find(text, 0, scratch)) << text;
    EXPECT_FALSE(other.Find(text, 0, scratch)) << text;
  }
  for (const char* text : {"\u180e", "\u200b", "\ufeff", "\x1F"}) {
    EXPECT_FALSE(space.Find(text, 0, scratch)) << text;
    EXPECT_TRUE(other.Find(text, 0, scratch)) << text;
  }
}

TEST(Regex, EscapedLiteralMatchesItself) {
  const std::string literal = "a.b*[c]\\{1}^$é ▁#-";
  RegexScratch scratch;
  const auto match = Regex(EscapeRegex(literal), "field").Find("xx" + literal, 0, scratch);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->begin, 2u);
  EXPECT_EQ(match->end, literal.size() + 2);
}

}  // namespace
}  // namespace onecopy::text
