// MaskCache: masks that were computed before, of all grammars that a model's users have, the least recently used of
// them dropped. Thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace onecopy::grammar {

struct TokenMask {
  std::vector<uint64_t> bits;  // by token
  // Of the mask of one state: trie nodes after which its rule may have ended, and what follows is up to the caller.
  std::vector<uint32_t> open_nodes;
};

// owner: a grammar, or a rule that many have; a and b say which of its masks. Only the owner's own input decides
// about a and b, so that nobody can make another's masks collide.
inline constexpr uint64_t kFirstGrammarOwner = 1 << 16;  // plus the grammar's id; below: common rules
struct MaskKey {
  uint64_t owner, a, b;
  bool operator==(const MaskKey&) const = default;
};

class MaskCache {
 public:
  explicit MaskCache(size_t max_bytes) : max_bytes_(max_bytes) {}

  std::shared_ptr<const TokenMask> Find(const MaskKey& key);  // null: not there
  void Insert(const MaskKey& key, std::shared_ptr<const TokenMask> mask);
  size_t bytes() const;

 private:
  struct Entry {
    MaskKey key;
    std::shared_ptr<const TokenMask> mask;
  };
  struct KeyHash {
    size_t operator()(const MaskKey& key) const {
      return (key.a ^ (key.owner * 0x9E3779B97F4A7C15u)) + key.b * 0xC2B2AE3D27D4EB4Fu;
    }
  };

  const size_t max_bytes_;
  mutable std::mutex mutex_;
  size_t bytes_ = 0;
  std::list<Entry> entries_;  // the last used first
  std::unordered_map<MaskKey, std::list<Entry>::iterator, KeyHash> by_key_;
};

}  // namespace onecopy::grammar
