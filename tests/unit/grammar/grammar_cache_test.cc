#include "runtime/grammar/grammar_cache.h"

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/unit/grammar/grammar_test_support.h"

namespace onecopy::grammar {
namespace {

using Json = nlohmann::ordered_json;

std::string Words(int i) {
  return "root ::= \"word" + std::to_string(i) + "\"";
}

TEST(GrammarCache, TheSameSourceIsCompiledOnce) {
  GrammarCache cache;
  const Json schema = Json::parse(R"({"type": "object", "properties": {"a": {}, "b": {}}})");
  const Json other = Json::parse(R"({"type": "object", "properties": {"b": {}, "a": {}}})");
  const auto first = cache.OfJsonSchema(schema);
  EXPECT_EQ(cache.OfJsonSchema(schema), first);
  EXPECT_NE(cache.OfJsonSchema(other), first) << "the order of properties is that of the answer";
  const auto words = cache.OfGbnf(Words(1));
  EXPECT_EQ(cache.OfGbnf(Words(1)), words);
  EXPECT_TRUE(Matches(words, "word1"));
  EXPECT_EQ(cache.stats().found, 2u);
  EXPECT_EQ(cache.stats().compiled, 3u);
  EXPECT_EQ(cache.stats().count, 3u);
}

TEST(GrammarCache, TheLongestUnusedIsDropped) {
  GrammarCache cache(GrammarCache::kDefaultBytes, 2);
  const auto one = cache.OfGbnf(Words(1)), two = cache.OfGbnf(Words(2));
  EXPECT_EQ(cache.OfGbnf(Words(1)), one);
  cache.OfGbnf(Words(3));
  EXPECT_EQ(cache.OfGbnf(Words(1)), one);
  EXPECT_NE(cache.OfGbnf(Words(2)), two);
  EXPECT_EQ(cache.stats().count, 2u);
}

TEST(GrammarCache, BytesAreLimited) {
  const size_t one = [] {
    GrammarCache cache;
    cache.OfGbnf(Words(1));
    return cache.stats().bytes;
  }();
  EXPECT_GT(one, Words(1).size());
  GrammarCache cache(3 * one + one / 2);
  for (int i = 0; i < 9; ++i) {
    cache.OfGbnf(Words(i));
    EXPECT_LE(cache.stats().bytes, 3 * one + one / 2);
  }
  EXPECT_EQ(cache.stats().count, 3u);
  EXPECT_TRUE(Matches(cache.OfGbnf("root ::= \"a\"{5000}"), std::string(5000, 'a'))) << "not kept, but made";
  EXPECT_EQ(cache.stats().count, 3u);
}

TEST(GrammarCache, ErrorsAreNotKept) {
  GrammarCache cache;
  for (int i = 0; i < 2; ++i) EXPECT_THROW(cache.OfGbnf("root ::= root"), Error);
  EXPECT_EQ(cache.stats().count, 0u);
}

TEST(GrammarCache, ThreadsShareIt) {
  GrammarCache cache(GrammarCache::kDefaultBytes, 4);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const int n = (i * (t + 1)) % 6;
        if (!Matches(cache.OfGbnf(Words(n)), "word" + std::to_string(n))) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(cache.stats().found + cache.stats().compiled, 800u);
}

}  // namespace
}  // namespace onecopy::grammar
