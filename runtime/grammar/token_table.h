// TokenTable: the bytes of a model's tokens as a trie, and the masks that were computed over it. Made once a model and
// shared by all matchers; thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/grammar/mask_cache.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::grammar {

class TokenTable {
 public:
  static constexpr size_t kDefaultCacheBytes = size_t{64} << 20;

  // Left out of the trie: control tokens, those that end generation, and those without bytes.
  explicit TokenTable(const text::Tokenizer& tokenizer, size_t cache_bytes = kDefaultCacheBytes);
  // The same from bytes by id, for other vocabularies. end_ids: those that end generation.
  TokenTable(std::vector<std::string> pieces, std::vector<int32_t> end_ids,
             size_t cache_bytes = kDefaultCacheBytes);

  // The trie's nodes in depth-first order: the children of a node follow it, up to `end`.
  struct Node {
    uint32_t end;  // the first node that is not below this one
    uint32_t
        first_token;   // tokens that are the bytes up to here; they end where those of the next node begin
    uint16_t depth;    // bytes up to here, from 1
    uint16_t deepest;  // depth of the deepest node below, or of this one
    uint8_t byte;
  };
  static constexpr size_t kMaxTokenBytes = 4096;  // longer ones are left out, too

  std::span<const Node> nodes() const { return {nodes_.data(), nodes_.size() - 1}; }
  // Tokens of the nodes begin to end - 1.
  std::span<const int32_t> Tokens(uint32_t begin, uint32_t end) const {
    return {tokens_.data() + nodes_[begin].first_token, tokens_.data() + nodes_[end].first_token};
  }

  int32_t vocab_size() const { return static_cast<int32_t>(pieces_.size()); }
  size_t mask_words() const { return (pieces_.size() + 63) / 64; }
  const std::string& Piece(int32_t id) const { return pieces_[id]; }  // empty for what is not in the trie
  std::span<const int32_t> end_ids() const { return end_ids_; }
  bool IsEnd(int32_t id) const;
  size_t max_token_bytes() const { return max_token_bytes_; }
  // Those of more bytes than this.
  std::span<const int32_t> LongerThan(size_t bytes) const;

  MaskCache& cache() const { return cache_; }

 private:
  void BuildTrie();

  std::vector<std::string> pieces_;
  std::vector<int32_t> end_ids_;  // sorted
  std::vector<Node> nodes_;       // one more, where the last ones end
  std::vector<int32_t> tokens_;
  std::vector<int32_t> by_length_;  // the longest first
  size_t max_token_bytes_ = 0;
  mutable MaskCache cache_;
};

}  // namespace onecopy::grammar
