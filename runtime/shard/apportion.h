// Dealing `units` equal pieces of one dimension to ranks. Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace onecopy::shard {

// What ranks hold already; the order in which they are preferred for the next piece.
struct Loads {
  explicit Loads(std::vector<double> shares)
      : share(std::move(shares)), total(share.size()), phase(share.size()) {}
  std::vector<double> share;  // relative share of each rank, sum = 1
  std::vector<double> total;  // bytes so far
  std::vector<double>
      phase;  // bytes so far in this phase of this layer (ranks wait for each other at its end)

  // Rank a should get the next unit before rank b.
  bool Before(int a, int b) const;
  void Add(int rank, double bytes);
  void BeginPhase();
};

// Every rank gets floor(units * share); the remainder goes one each to the ranks that are first by
// Loads::Before. For pieces of work that are used together (the experts of a layer), where each must be
// spread evenly.
std::vector<uint32_t> DealEvenly(uint32_t units, double unit_bytes, Loads* loads);

// Units go one by one to the rank that is first by Loads::Before: fills up what other pieces left uneven.
std::vector<uint32_t> DealToLeast(uint32_t units, double unit_bytes, Loads* loads);

}  // namespace onecopy::shard
