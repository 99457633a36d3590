#include "runtime/text/bpe.h"

#include <gtest/gtest.h>

#include <map>

#include "runtime/text/pcg32.h"
#include "tests/support/processor_time.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

// The definition, without a queue: scan for the best pair, join its leftmost occurrence, start again.
std::vector<std::string> MergeNaively(std::string_view word, const Merges& merges) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  for (size_t i = 0; i < merges.size(); ++i) ranks.emplace(merges[i], i);
  while (true) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = ranks.find({symbols[i], symbols[i + 1]});
      if (it == ranks.end() || it->second >= best) continue;
      best = it->second;
      at = i;
    }
    if (best == merges.size()) return symbols;
    symbols[at] += symbols[at + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
}

struct Bpe {
  std::shared_ptr<const Vocabulary> vocabulary;
  WordEncoder encode;
};

Bpe MakeBpe(const Merges& merges) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(ByteToAlphabet(static_cast<uint8_t>(byte)));
  for (const auto& [left, right] : merges) {
    if (std::find(tokens.begin(), tokens.end(), left + right) == tokens.end()) tokens.push_back(left + right);
  }
  std::vector<TokenKind> kinds(tokens.size(), TokenKind::kNormal);
  auto vocabulary = Vocabulary::Build(std::move(tokens), std::move(kinds), "test");
  return {vocabulary, MakeBpeEncoder(vocabulary, merges, {}, "test")};
}

std::vector<int32_t> Encode(const Bpe& bpe, std::string_view word) {
  MergeScratch scratch;
  std::vector<int32_t> ids;
  bpe.encode(word, &scratch, &ids);
  return ids;
}

TEST(Bpe, QueueGivesWhatTheDefinitionGives) {
  Pcg32 random(1, 1);
  for (int round = 0; round < 200; ++round) {
    // Random merges over {a, b, c}: many overlap, so that stale queue entries and ties occur.
    std::vector<std::string> known = {"a", "b", "c"};
    Merges merges;
    for (int i = 0; i < 12; ++i) {
      const std::string left = known[random.Next() % known.size()],
                        right = known[random.Next() % known.size()];
      if (left.size() + right.size() > 6) continue;
      merges.emplace_back(left, right);
      known.push_back(left + right);
    }
    const Bpe bpe = MakeBpe(merges);
    for (const size_t length : {1, 2, 3, 7, 17, 63}) {
      std::string word;
      for (size_t i = 0; i < length; ++i) word += static_cast<char>('a' + random.Next() % 3);
      std::vector<std::string> tokens;
      for (const int32_t id : Encode(bpe, word)) tokens.push_back(bpe.vocabulary->text(id));
      ASSERT_EQ(tokens, MergeNaively(word, merges)) << word;
    }
  }
}

TEST(Bpe, WordOfAMegabyteTakesSeconds) {
  // The quadratic algorithm takes hours.
  Merges merges;
  for (std::string token = "a"; token.size() < 64; token += token) merges.emplace_back(token, token);
  const Bpe bpe = MakeBpe(merges);
  const double seconds = test::ThreadSeconds(
      [&] { EXPECT_EQ(Encode(bpe, std::string(1 << 20, 'a')).size(), size_t{1 << 20} / 64); });
  EXPECT_LT(seconds, 60);
}

TEST(Bpe, BytesWithoutATokenAreUnknownOrDropped) {
  auto vocabulary = Vocabulary::Build({"?", "a"}, std::vector<TokenKind>(2, TokenKind::kNormal), "test");
  MergeScratch scratch;
  const auto encode = [&](const BpeOptions& options) {
    std::vector<int32_t> ids;
    MakeBpeEncoder(vocabulary, {}, options, "test")("axxa", &scratch, &ids);
    return ids;
  };
  EXPECT_EQ(encode({}), (std::vector<int32_t>{1, 1}));
  EXPECT_EQ(encode({.unknown_id = 0}), (std::vector<int32_t>{1, 0, 0, 1}));
  EXPECT_EQ(encode({.fuse_unknown = true, .unknown_id = 0}), (std::vector<int32_t>{1, 0, 1}));
}

}  // namespace
}  // namespace onecopy::text
