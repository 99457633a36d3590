// Masks against the plain question for every token whether its bytes may follow, and the limits of a matcher.
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/unit/grammar/grammar_test_support.h"
#include "tests/unit/grammar/walk.h"

namespace onecopy::grammar {
namespace {

// Every token is tried on a copy, byte by byte, without masks or their cache.
void ExpectMaskIsWhatMayFollow(Matcher matcher, const TokenTable& table, const std::string& where) {
  const auto mask = matcher.Mask();
  const std::vector<int32_t> found = Allowed(mask);
  std::vector<int32_t> expected;
  for (int32_t id = 0; id < table.vocab_size(); ++id) {
    if (table.IsEnd(id) ? matcher.can_end()
                        : !table.Piece(id).empty() && Matcher(matcher).AcceptText(table.Piece(id)))
      expected.push_back(id);
  }
  EXPECT_EQ(found, expected) << where;
}

const std::vector<std::string>& MixedGrammars() {
  static const std::vector<std::string> grammars = {
      "root ::= .*",
      "root ::= \"once upon a time\" | \"one day\" | [a-z ]{3,40} \".\"",
      "root ::= \"\\\"\" [^\"\\n]* \"\\\"\" (\", \" root)?",
      "root ::= (word \" \")* word\nword ::= [A-Za-z]+ | [0-9]{1,4}",
      "root ::= \"(\" root \")\" root | [a-e]*",
      "root ::= (\"a\" | \"ab\" | \"abc\" | [a-z]{2})* x\nx ::= \"the\" x | \"t\" | x2\nx2 ::= \"th\" x "
      "\"e\" | \"q\"",
      "root ::= [à-ü日本😀 ]+",
  };
  return grammars;
}

TEST(Matcher, MaskIsWhatMayFollow) {
  const auto table = ShippedTable();
  std::mt19937 random(1);
  for (const std::string& text : MixedGrammars()) {
    Matcher matcher(Grammar::FromGbnf(text), table);
    for (int step = 0; step < 12 && !matcher.finished(); ++step) {
      ExpectMaskIsWhatMayFollow(matcher, *table, text + ", step " + std::to_string(step));
      const std::vector<int32_t> ids = Allowed(matcher.Mask());
      ASSERT_FALSE(ids.empty());
      ASSERT_TRUE(matcher.Accept(ids[random() % ids.size()]));
    }
  }
}

TEST(Matcher, MaskOfSchemasIsWhatMayFollow) {
  const auto table = ShippedTable();
  std::ifstream file(ONECOPY_TEST_DATA "/json_schemas.json");
  const auto cases = nlohmann::ordered_json::parse(file);
  std::mt19937 random(2);
  size_t steps = 0;
  for (size_t i = 0; i < cases.size(); i += 7) {
    Matcher matcher(Grammar::FromJsonSchema(cases[i]["schema"]), table);
    for (int step = 0; step < 10 && !matcher.finished(); ++step, ++steps) {
      ExpectMaskIsWhatMayFollow(matcher, *table, cases[i]["name"].get<std::string>());
      const std::vector<int32_t> ids = Allowed(matcher.Mask());
      ASSERT_FALSE(ids.empty()) << cases[i]["name"];
      ASSERT_TRUE(matcher.Accept(ids[random() % ids.size()]));
    }
  }
  EXPECT_GT(steps, 80u);
}

// Where many repetitions are counted, masks are taken over from other places in the repetition: at each place they must
// be what they would be without.
TEST(Matcher, MaskInsideLongRepetitionsIsWhatMayFollow) {
  const auto table = ShippedTable();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"root ::= [a-z ]{20,60} \"!\"", "once upon a time there was a little dog who sat by a door"},
      {"root ::= (\"\\\"\" [^\"\\n]{0,30} \"\\\"\" \",\"?)+",
       "\"the small dog said hello to\",\"a big tree\""},
      {"root ::= [à-ü日 a-e]{5,40} [a-z]*", "äö üb ec ade 日日 cab bad äöü bead ü addaddee"},
      {"root ::= (\"a\" | \"bc\" | [é日x-z]){18,50} (\"b\" | \"q\")",
       "abcé日xyzaaabcbcbcxézyxabca日日abcxbcaaaa"},
      {"root ::= ([a-f ]{17,} \".\"){1,3}", "a bed a cab a bad face fed. deaf bead ace dab cafe a."},
      {"root ::= [a-c]{16,} [b-d]{0,20} [a-d]", "abcabcabcabcabcabcabcdddd"},
  };
  for (const auto& [grammar, text] : cases) {
    Matcher matcher(Grammar::FromGbnf(grammar), table);
    for (const char byte : text) {
      ASSERT_TRUE(matcher.AcceptText({&byte, 1})) << grammar;
      ExpectMaskIsWhatMayFollow(matcher, *table, grammar);
    }
  }
}

// 152k tokens of up to 128 bytes.
TEST(Matcher, MaskOfALargeVocabularyIsWhatMayFollow) {
  const auto table = TableOf(ONECOPY_TEST_TOKENIZERS "/ggml-vocab-qwen2.gguf");
  ASSERT_GT(table->max_token_bytes(), 100u);
  const auto schema = nlohmann::ordered_json::parse(
      R"({"type":"object","properties":{"a":{"type":"string","maxLength":150},"b":{"type":"array","items":{"type":"number"}}}})");
  Matcher matcher(Grammar::FromJsonSchema(schema), table);
  for (const char* text : {"{\"a\": \"once", " upon a time",
                           "there was a little dog who sat by a door and looked at the rain", "\", "}) {
    ASSERT_TRUE(matcher.AcceptText(text)) << text;
    ExpectMaskIsWhatMayFollow(matcher, *table, text);
  }
}

TEST(Matcher, ACharacterMayBeSpreadOverTokens) {
  Matcher matcher(Grammar::FromGbnf("root ::= [é-ë] \"!\""), ByteTable());
  EXPECT_THAT(Allowed(matcher.Mask()), testing::ElementsAre(0xC3));
  ASSERT_TRUE(matcher.Accept(0xC3));
  EXPECT_THAT(Allowed(matcher.Mask()), testing::ElementsAre(0xA9, 0xAA, 0xAB));
  EXPECT_FALSE(matcher.Accept(0xA8));
  ASSERT_TRUE(matcher.Accept(0xAA));
  EXPECT_FALSE(matcher.Accept(256));
  ASSERT_TRUE(matcher.Accept('!'));
  EXPECT_THAT(Allowed(matcher.Mask()), testing::ElementsAre(256));
  EXPECT_TRUE(matcher.can_end());
  ASSERT_TRUE(matcher.Accept(256));
  EXPECT_TRUE(matcher.finished());
  EXPECT_THAT(Allowed(matcher.Mask()), testing::IsEmpty());
  EXPECT_FALSE(matcher.Accept('!'));
}

TEST(Matcher, TokensThatDoNotExistAreRefused) {
  Matcher matcher(Grammar::FromGbnf("root ::= .*"), ByteTable());
  for (const int32_t id : {-1, 257, INT32_MAX, INT32_MIN}) EXPECT_FALSE(matcher.Accept(id)) << id;
}

TEST(Matcher, ControlTokensAreNeverAllowed) {
  const text::Tokenizer tokenizer =
      text::Tokenizer::FromGguf(OpenCheckpoint(ONECOPY_SOURCE_DIR "/models/tiny-moe-q8_0.gguf").metadata);
  Matcher matcher(Grammar::FromGbnf("root ::= .*"), ShippedTable());
  const std::vector<int32_t> allowed = Allowed(matcher.Mask());
  size_t control = 0;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const bool in = std::binary_search(allowed.begin(), allowed.end(), id);
    if (tokenizer.IsEndOfGeneration(id)) {
      EXPECT_TRUE(in) << id;
    }
    if (!tokenizer.is_special(id) || tokenizer.IsEndOfGeneration(id)) continue;
    ++control;
    EXPECT_FALSE(in) << id;
    EXPECT_FALSE(matcher.Accept(id)) << id;
  }
  EXPECT_GT(control, 0u);
}

TEST(Matcher, ACopyGoesItsOwnWay) {
  Matcher matcher(Grammar::FromGbnf("root ::= \"(\" root \")\" | \"ab\""), ByteTable());
  ASSERT_TRUE(matcher.AcceptText("((a"));
  Matcher before = matcher;
  ASSERT_TRUE(matcher.AcceptText("b))"));
  EXPECT_TRUE(matcher.can_end());
  EXPECT_FALSE(before.can_end());
  EXPECT_FALSE(before.AcceptText("b)))"));  // and stays as it was
  EXPECT_TRUE(before.AcceptText("b)"));
  EXPECT_TRUE(before.AcceptText(")"));
  EXPECT_TRUE(before.can_end());
}

TEST(Matcher, LongTextsKeepFewContexts) {
  const auto grammar = Grammar::JsonObject();
  Matcher matcher(grammar, ByteTable());
  ASSERT_TRUE(matcher.AcceptText("{\"a\": ["));
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(matcher.AcceptText("{\"k\": [1, {\"x\": null}]}, ")) << i;
  EXPECT_LT(matcher.num_contexts(), 2000u);
  ASSERT_TRUE(matcher.AcceptText("0]}"));
  EXPECT_TRUE(matcher.can_end());
}

TEST(Matcher, DepthIsLimitedAndTheTextCanStillEnd) {
  Matcher matcher(Grammar::FromGbnf("root ::= \"[\" root \"]\" | \"x\""), ByteTable());
  int depth = 0;
  while (depth < 10'000 && matcher.AcceptText("[")) ++depth;
  EXPECT_GT(depth, 200);
  EXPECT_LT(depth, 300);
  ASSERT_TRUE(matcher.AcceptText("x"));
  for (int i = 0; i < depth; ++i) ASSERT_TRUE(matcher.AcceptText("]"));
  EXPECT_TRUE(matcher.can_end());
}

// Grammars whose number of ways grows without bound: every call must stay short, and what is allowed must be true.
TEST(Matcher, AmbiguousGrammarsTakeBoundedTime) {
  const std::vector<std::string> hostile = {
      "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"a\" root | \"a\"",
      "root ::= x+\nx ::= y+\ny ::= z+\nz ::= [a-z]+ | x2\nx2 ::= [a-z ]* \"!\"",
      "root ::= s\ns ::= \"a\" s s | \"a\" | [a-z] s [a-z]* s?",
      "root ::= (.* .* .* .* .* .* .* \"!\"){3}",
      "root ::= ([a-z]{0,50} [a-m]{0,50} [c-q]{0,50}){0,20} \"!\"",
      "root ::= (a | b | c | d | e)*\na ::= . f\nb ::= . . f\nc ::= . . . f\nd ::= . f f\ne ::= f . f . f\n"
      "f ::= . (. | e)",
  };
  const auto table = ShippedTable();
  for (const std::string& text : hostile) {
    Matcher matcher(Grammar::FromGbnf(text), table);
    std::mt19937 random(3);
    double worst_s = 0;
    for (int step = 0; step < 40 && !matcher.finished(); ++step) {
      const auto begin = std::chrono::steady_clock::now();
      const std::vector<int32_t> ids = Allowed(matcher.Mask());
      if (ids.empty()) break;
      ASSERT_TRUE(matcher.Accept(ids[random() % ids.size()])) << text;
      worst_s =
          std::max(worst_s, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    RecordProperty("worst_ms", static_cast<int>(worst_s * 1000));
    printf("%7.1f ms  %s\n", worst_s * 1000, text.substr(0, 60).c_str());
    // Some tenths of a second; more on a machine that is busy or sanitised.
    EXPECT_LT(worst_s, 5.0) << text;
  }
}

TEST(Matcher, MatchersOfOneGrammarRunInParallel) {
  const auto table = TableOf(ONECOPY_SOURCE_DIR "/models/tiny-moe-q8_0.gguf");
  const auto schema = nlohmann::ordered_json::parse(
      R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"string"}},"b":{"type":"number"}},"required":["a","b"]})");
  const auto grammar = Grammar::FromJsonSchema(schema);
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < texts.size(); ++i)
    threads.emplace_back([&, i] {
      std::mt19937 random(7);
      Matcher matcher(grammar, table);
      texts[i] = Walk(&matcher, *table, 40, &random).text;
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : texts) EXPECT_EQ(text, texts[0]);
  EXPECT_TRUE(Matches(grammar, texts[0]));
}

TEST(MaskCache, KeepsToItsBytesAndDropsTheLeastRecentlyUsed) {
  MaskCache cache(10'000);
  const auto mask = std::make_shared<const TokenMask>(TokenMask{std::vector<uint64_t>(100), {}});
  for (uint64_t i = 0; i < 50; ++i) {
    cache.Insert({0, i, 0}, mask);
    EXPECT_NE(cache.Find({0, 0, 0}), nullptr) << i;  // used all the time
    EXPECT_LE(cache.bytes(), 10'000u);
  }
  EXPECT_EQ(cache.Find({0, 1, 0}), nullptr);
  EXPECT_NE(cache.Find({0, 49, 0}), nullptr);
  EXPECT_EQ(cache.Find({1, 49, 0}), nullptr);
}

}  // namespace
}  // namespace onecopy::grammar
