// The loop that both merging tokenizers share: of all neighbours that may be joined, join the best, again and
// again. A priority queue over a linked list, so a word of n symbols takes O(n log n). One scratch per
// thread. Source: Sennrich et al. 2016 (BPE); the queue as in sentencepiece's bpe_model.cc.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace onecopy::text {

struct MergeSymbol {
  uint32_t begin = 0, bytes = 0;  // in the word; 0 bytes: joined to the symbol before
  int32_t id = -1;                // -1: not a token by itself
  int32_t previous = -1, next = -1;
};

// What joining two neighbours gives. Lower costs go first, and of equal ones the leftmost.
struct Merge {
  double cost = 0;
  int32_t id = -1;
};

struct MergeScratch {
  struct Candidate {
    double cost;
    int32_t left, right;
    uint32_t bytes;  // of both when queued: a different sum tells that one has changed since
    int32_t id;
  };
  std::vector<MergeSymbol> symbols;
  std::vector<Candidate> queue;

  void Add(uint32_t begin, uint32_t bytes, int32_t id) {
    const auto index = static_cast<int32_t>(symbols.size());
    if (index > 0) symbols.back().next = index;
    symbols.push_back({begin, bytes, id, index - 1, -1});
  }
};

// Joins scratch->symbols in place. lookup(left, right) -> std::optional<Merge>.
template <typename Lookup>
void MergeSymbols(MergeScratch* scratch, const Lookup& lookup) {
  using Candidate = MergeScratch::Candidate;
  std::vector<MergeSymbol>& symbols = scratch->symbols;
  std::vector<Candidate>& queue = scratch->queue;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.cost != b.cost ? a.cost > b.cost : a.left > b.left;
  };
  queue.clear();
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return false;
    const std::optional<Merge> merge = lookup(symbols[left], symbols[right]);
    if (!merge) return false;
    queue.push_back({merge->cost, left, right, symbols[left].bytes + symbols[right].bytes, merge->id});
    return true;
  };
  const auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 1; i < count; ++i) consider(i - 1, i);
  std::make_heap(queue.begin(), queue.end(), later);

  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), later);
    const Candidate best = queue.back();
    queue.pop_back();
    MergeSymbol& left = symbols[best.left];
    MergeSymbol& right = symbols[best.right];
    // Stale entries are skipped here rather than removed when they become so: a heap cannot find them.
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != best.bytes) continue;
    left.bytes += right.bytes;
    left.id = best.id;
    left.next = right.next;
    right.bytes = 0;
    if (left.next >= 0) symbols[left.next].previous = best.left;
    if (consider(left.previous, best.left)) std::push_heap(queue.begin(), queue.end(), later);
    if (consider(best.left, left.next)) std::push_heap(queue.begin(), queue.end(), later);
  }
}

}  // namespace onecopy::text
