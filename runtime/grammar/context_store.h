// ContextStore: where the rules go on that are being read, as contents-addressed nodes that share their tails: the
// graph-structured stack of a matcher (Tomita, "An Efficient Augmented-Context-Free Parsing Algorithm", 1987). Equal
// contexts have equal ids, so that an ambiguous grammar has few of them, and the same place in a text looks the same
// whenever it comes again. A value; not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace onecopy::grammar {

// A state that the automaton is in, and the context that its rule returns to.
struct Item {
  uint32_t state, context;
  auto operator<=>(const Item&) const = default;  // NOLINT(modernize-use-nullptr): a 0 that nobody wrote
};

// Of contents only, not of ids: equal in every store, with 128 bits.
struct ContentHash {
  uint64_t a = 0, b = 0;
  bool operator==(const ContentHash&) const = default;
};

class ContextStore {
 public:
  // No context; the whole text's; that of a rule of which it is not known who called it.
  static constexpr uint32_t kNone = 0, kRoot = 1, kOpen = 2;

  ContextStore();

  // Sorts the entries and drops those that are there twice.
  uint32_t Intern(std::vector<Item>* entries);
  std::span<const Item> Entries(uint32_t context) const {
    const Node& node = nodes_[context];
    return {entries_.data() + node.first_entry, node.num_entries};
  }
  uint32_t Depth(uint32_t context) const { return nodes_[context].depth; }
  // Independent of the order of the items, which must be different ones.
  ContentHash HashOf(std::span<const Item> items) const;

  size_t size() const { return nodes_.size(); }
  void Truncate(size_t size);  // forgets all contexts made since size() was this
  // Forgets what these items cannot reach, and renames their contexts.
  void Compact(std::vector<Item>* items);

 private:
  struct Node {
    uint32_t first_entry, num_entries, depth, next;  // next: of the same bucket
    ContentHash hash;
  };
  void Link(uint32_t context);

  std::vector<Node> nodes_;
  std::vector<Item> entries_;
  std::vector<uint32_t> buckets_;  // a power of two; the last context of each, 0: none
};

}  // namespace onecopy::grammar
