// JsonScanner agrees with nlohmann's parser about what is JSON.
#include "runtime/text/json_scanner.h"

#include <gtest/gtest.h>

#include <string>

#include "runtime/text/pcg32.h"

namespace onecopy::text {
namespace {

// How many bytes are one whole value; 0: the text is none, or not whole.
size_t BytesOfValue(const std::string& text) {
  JsonScanner scanner;
  for (size_t i = 0; i < text.size(); ++i) {
    const JsonScanner::State state = scanner.Push(text[i]);
    if (state == JsonScanner::State::kBad) return 0;
    if (state == JsonScanner::State::kDone) return i + 1;
  }
  return 0;
}

TEST(JsonScanner, FindsTheEndOfAValue) {
  for (const char* text : {"{}", "[]", R"({"a": [1, -2.5e+10, "x\"}\u00e9", true, false, null, {}]})", "[ ]",
                           "{ }", R"([0, -0, 0.5, 10E-3])", "[[[]]]"}) {
    EXPECT_EQ(BytesOfValue(text), std::string(text).size()) << text;
    EXPECT_EQ(BytesOfValue(std::string(text) + "rest}"), std::string(text).size()) << text;
  }
}

TEST(JsonScanner, RefusesWhatIsNoJson) {
  for (const char* text : {"1",
                           "\"a\"",
                           " {}",
                           "{]",
                           "[}",
                           "{a:1}",
                           "{\"a\" 1}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "[1,]",
                           "[,1]",
                           "[01]",
                           "[1.]",
                           "[.5]",
                           "[-]",
                           "[1e]",
                           "[1e+]",
                           "[tru]",
                           "[truE]",
                           "[\"\\x\"]",
                           "[\"\\u12g4\"]",
                           "[1 2]",
                           "{\"a\":1 \"b\":2}",
                           "[+1]",
                           "['a']"})
    EXPECT_EQ(BytesOfValue(text), 0u) << text;
}

// Texts that are nearly JSON: a value with bytes changed, moved or left out.
TEST(JsonScanner, AgreesWithAParserOnRandomTexts) {
  Pcg32 random(11, 11);
  const std::string base = R"({"a": [1, -2.5e1, "x\n\u00e9"], "b": {"c": true, "d": null}, "e": []})";
  const std::string letters = "{}[],:\"\\ 0123.-+eEtrufalsn";
  size_t good = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = base;
    for (uint32_t n = random.Next() % 3; n > 0; --n) {
      const size_t at = random.Next() % text.size();
      if (random.Next() % 2) {
        text[at] = letters[random.Next() % letters.size()];
      } else {
        text.erase(at, 1);
      }
    }
    const bool expected = nlohmann::json::accept(text);
    ASSERT_EQ(BytesOfValue(text) == text.size(), expected) << text;
    ASSERT_EQ(ParseJson(text).has_value(), expected) << text;
    good += expected;
  }
  EXPECT_GT(good, 5000u);
  EXPECT_LT(good, 15000u);
}

TEST(JsonScanner, LimitsDepthAndKeys) {
  const auto nested = [](size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_EQ(BytesOfValue(nested(kMaxJsonDepth)), 2 * kMaxJsonDepth);
  EXPECT_EQ(BytesOfValue(nested(kMaxJsonDepth + 1)), 0u);
  EXPECT_FALSE(ParseJson(nested(1000000)));
  std::string keys = "{\"0\":0";
  for (size_t i = 1; i < kMaxJsonKeys; ++i) keys += ",\"" + std::to_string(i) + "\":0";
  EXPECT_TRUE(ParseJson(keys + "}"));
  EXPECT_FALSE(ParseJson(keys + ",\"x\":0}"));
}

TEST(ParseJson, TakesWholeValuesOfAnyKind) {
  EXPECT_EQ(ParseJson("1"), nlohmann::ordered_json(1));
  EXPECT_EQ(ParseJson(" \"a\" "), nlohmann::ordered_json("a"));
  EXPECT_EQ(ParseJson("null"), nlohmann::ordered_json(nullptr));
  for (const char* text : {"", " ", "1,2", "1 2", "{}{}", "]", "],["}) EXPECT_FALSE(ParseJson(text)) << text;
}

}  // namespace
}  // namespace onecopy::text
