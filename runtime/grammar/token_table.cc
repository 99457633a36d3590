#include "runtime/grammar/token_table.h"

#include <algorithm>

namespace onecopy::grammar {
namespace {

std::vector<std::string> TextPieces(const text::Tokenizer& tokenizer) {
  std::vector<std::string> pieces(tokenizer.vocab_size());
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (!tokenizer.is_special(id)) pieces[id] = tokenizer.Piece(id);
  return pieces;
}

}  // namespace

TokenTable::TokenTable(const text::Tokenizer& tokenizer, size_t cache_bytes)
    : TokenTable(TextPieces(tokenizer), tokenizer.end_of_generation(), cache_bytes) {}

TokenTable::TokenTable(std::vector<std::string> pieces, std::vector<int32_t> end_ids, size_t cache_bytes)
    : pieces_(std::move(pieces)), end_ids_(std::move(end_ids)), cache_(cache_bytes) {
  std::erase_if(end_ids_, [&](int32_t id) { return id < 0 || id >= vocab_size(); });
  std::sort(end_ids_.begin(), end_ids_.end());
  for (const int32_t id : end_ids_) pieces_[id].clear();
  for (std::string& piece : pieces_)
    if (piece.size() > kMaxTokenBytes) piece.clear();
  BuildTrie();
}

bool TokenTable::IsEnd(int32_t id) const {
  return std::binary_search(end_ids_.begin(), end_ids_.end(), id);
}

void TokenTable::BuildTrie() {
  for (int32_t id = 0; id < vocab_size(); ++id)
    if (!pieces_[id].empty()) tokens_.push_back(id);
  // In the order of their bytes (char_traits<char> compares them as unsigned), a token is below the one before as
  // far as they begin alike.
  std::sort(tokens_.begin(), tokens_.end(), [&](int32_t a, int32_t b) {
    const int order = pieces_[a].compare(pieces_[b]);
    return order != 0 ? order < 0 : a < b;
  });
  std::vector<uint32_t> path;  // nodes of the bytes of the token before
  std::string_view before;
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view piece = pieces_[tokens_[i]];
    if (i > 0 && piece == before) continue;
    const size_t common =
        std::mismatch(before.begin(), before.end(), piece.begin(), piece.end()).first - before.begin();
    const uint32_t next = static_cast<uint32_t>(nodes_.size());
    for (; path.size() > common; path.pop_back()) nodes_[path.back()].end = next;
    for (size_t depth = common; depth < piece.size(); ++depth) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, i, static_cast<uint16_t>(depth + 1), 0, static_cast<uint8_t>(piece[depth])});
    }
    before = piece;
  }
  const uint32_t end = static_cast<uint32_t>(nodes_.size());
  for (const uint32_t node : path) nodes_[node].end = end;
  // Backwards, all nodes below one are done before it.
  for (uint32_t i = end; i-- > 0;) {
    nodes_[i].deepest = nodes_[i].depth;
    for (uint32_t child = i + 1; child < nodes_[i].end; child = nodes_[child].end)
      nodes_[i].deepest = std::max(nodes_[i].deepest, nodes_[child].deepest);
  }
  nodes_.push_back({end, static_cast<uint32_t>(tokens_.size()), 0, 0, 0});
  by_length_ = tokens_;
  std::stable_sort(by_length_.begin(), by_length_.end(),
                   [&](int32_t a, int32_t b) { return pieces_[a].size() > pieces_[b].size(); });
  if (!by_length_.empty()) max_token_bytes_ = pieces_[by_length_[0]].size();
}

std::span<const int32_t> TokenTable::LongerThan(size_t bytes) const {
  const auto end = std::partition_point(by_length_.begin(), by_length_.end(),
                                        [&](int32_t id) { return pieces_[id].size() > bytes; });
  return {by_length_.begin(), end};
}

}  // namespace onecopy::grammar
