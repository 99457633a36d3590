// A walk through a grammar: a text that its masks allow.
#pragma once

#include <random>
#include <string>

#include "tests/fuzz/support.h"
#include "tests/unit/grammar/walk.h"

namespace onecopy::fuzz {

// A token a byte, some of two and three, and one that ends generation.
inline std::shared_ptr<const grammar::TokenTable> ByteTable() {
  static const auto table = [] {
    std::vector<std::string> pieces;
    for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
    for (const char* more :
         {"{\"", "\":", "\",", "\"}", "true", "null", "ab", "12", "  ", "},{", "\u00e9", "\\u00"})
      pieces.emplace_back(more);
    pieces.emplace_back("<end>");
    const auto end = static_cast<int32_t>(pieces.size() - 1);
    return std::make_shared<const grammar::TokenTable>(std::move(pieces), std::vector<int32_t>{end});
  }();
  return table;
}

// Walks with a fresh matcher, checks that masks and matcher agree, and returns the text where it came to an end.
inline std::string CheckWalk(const std::shared_ptr<const grammar::Grammar>& grammar, uint32_t seed) {
  std::minstd_rand random(seed);
  const auto table = ByteTable();
  grammar::Matcher matcher(grammar, table);
  std::string text;
  for (int i = 0; i < 60; ++i) {
    const std::vector<int32_t> ids = grammar::Allowed(matcher.Mask());
    if (ids.empty()) return {};  // as deep or as ambiguous as is allowed
    const int32_t id = ids[random() % ids.size()];
    // One that the mask has not is refused, and changes nothing.
    const auto other = static_cast<int32_t>(random() % static_cast<uint32_t>(table->vocab_size()));
    if (std::find(ids.begin(), ids.end(), other) == ids.end())
      Require(!matcher.Accept(other), "token {} is taken, which the mask has not, after \"{}\"", other, text);
    const bool can_end = matcher.can_end();
    Require(can_end == (std::find(ids.begin(), ids.end(), table->end_ids()[0]) != ids.end()),
            "the mask and can_end differ after \"{}\"", text);
    Require(matcher.Accept(id), "token {} of the mask is not accepted after \"{}\"", id, text);
    if (matcher.finished()) {
      grammar::Matcher again(grammar, table);
      Require(again.AcceptText(text) && again.can_end(), "\"{}\" is not accepted as a whole", text);
      return text;
    }
    text += table->Piece(id);
  }
  return {};
}

}  // namespace onecopy::fuzz
