// A random text of a grammar: tokens drawn from its masks. Shared by the tests and by schema_check.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/grammar/matcher.h"

namespace onecopy::grammar {

inline std::vector<int32_t> Allowed(std::span<const uint64_t> mask) {
  std::vector<int32_t> ids;
  for (size_t word = 0; word < mask.size(); ++word)
    for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1)
      ids.push_back(static_cast<int32_t>(word * 64 + __builtin_ctzll(bits)));
  return ids;
}

// Follows a JSON text into and out of its strings.
struct StringTracker {
  bool in_string = false, escaped = false;
  void Read(std::string_view text) {
    for (const char c : text) {
      if (c == '"' && !escaped) in_string = !in_string;
      escaped = c == '\\' && !escaped;
    }
  }
};

// What brings a JSON text to its end soonest comes first. In a string that may not end yet: any character, or one of a
// few that patterns like; as the coin says.
inline size_t ClosingOrder(const TokenTable& table, int32_t id, bool in_string, bool coin,
                           std::mt19937* random) {
  if (table.IsEnd(id)) return 0;
  const std::string& piece = table.Piece(id);
  if (in_string && piece == "\"") return 1;
  if (in_string) {
    const bool liked =
        piece.size() == 1 && std::string_view("abcx.").find(piece[0]) != std::string_view::npos;
    return 2 + (coin && liked ? 0 : 1000 * piece.size()) + (*random)() % 1000;
  }
  constexpr std::string_view kOrder = "}]ntf0123456789\"";
  const size_t at = kOrder.find(piece[0]);
  return (at == std::string_view::npos ? 40 : at + 1) * 1000 + piece.size();
}

struct Walked {
  std::string text;
  size_t tokens = 0;
  std::string fault;  // empty: it came to an end as it should
};

// free_tokens: drawn evenly among what is allowed; after them, what closes soonest.
inline Walked Walk(Matcher* matcher, const TokenTable& table, size_t free_tokens, std::mt19937* random) {
  constexpr size_t kMaxTokens = 20'000;
  Walked out;
  StringTracker tracker;
  for (; out.tokens < kMaxTokens; ++out.tokens) {
    const std::vector<int32_t> ids = Allowed(matcher->Mask());
    if (ids.empty()) {
      out.fault = "nothing is allowed";
      return out;
    }
    int32_t id = ids[(*random)() % ids.size()];
    if (out.tokens >= free_tokens) {
      const bool coin = (*random)() % 2 == 0;
      size_t least = SIZE_MAX;
      for (const int32_t allowed : ids) {
        const size_t order = ClosingOrder(table, allowed, tracker.in_string, coin, random);
        if (order < least) id = allowed;
        least = std::min(least, order);
      }
    }
    if (!matcher->Accept(id)) {
      out.fault = "a token of the mask is not accepted";
      return out;
    }
    if (matcher->finished()) return out;
    out.text += table.Piece(id);
    tracker.Read(table.Piece(id));
  }
  out.fault = "no end";
  return out;
}

}  // namespace onecopy::grammar
