#include "runtime/comm/collectives_table.h"

#include <algorithm>
#include <cstdlib>

namespace onecopy::comm {
namespace {

// One phase reads (ranks - 2) * bytes more than two; a second phase costs another round of flags. Above this many bytes
// the reading costs more.
constexpr size_t kOnePhaseExtraBytes = 48 << 10;
// Two phases carry ranks * bytes over the links between sockets, by socket 2 * bytes, for two rounds more: some 4 us
// against what links of 100 GB/s or so carry in that time. Calculated; bench-collectives --tune measures.
constexpr size_t kBySocketLinkBytes = 1 << 20;

Algorithm BuiltIn(size_t bytes, int ranks, int sockets) {
  const auto n_ranks = static_cast<size_t>(ranks);
  if (ranks <= 2 || (n_ranks - 2) * bytes <= kOnePhaseExtraBytes) return Algorithm::kOnePhase;
  if (sockets > 1 && ranks >= 4 * sockets && n_ranks * bytes >= kBySocketLinkBytes)
    return Algorithm::kBySocket;
  return Algorithm::kTwoPhases;
}

}  // namespace

std::string_view NameOf(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::kOnePhase:
      return "one-phase";
    case Algorithm::kTwoPhases:
      return "two-phases";
    case Algorithm::kBySocket:
      return "by-socket";
  }
  std::abort();
}

std::optional<Algorithm> AlgorithmOf(std::string_view name) {
  for (const Algorithm algorithm : kAlgorithms)
    if (NameOf(algorithm) == name) return algorithm;
  return std::nullopt;
}

Algorithm CollectivesTable::Choose(size_t bytes, int ranks, int sockets) const {
  const auto better = [&](const Row& a, const Row& b) {  // a fits better than b
    const int a_off = std::abs(a.ranks - ranks), b_off = std::abs(b.ranks - ranks);
    if (a_off != b_off) return a_off < b_off;
    const bool a_reaches = a.up_to_bytes >= bytes, b_reaches = b.up_to_bytes >= bytes;
    if (a_reaches != b_reaches) return a_reaches;
    return a_reaches ? a.up_to_bytes < b.up_to_bytes : a.up_to_bytes > b.up_to_bytes;
  };
  const Row* best = nullptr;
  for (const Row& row : rows)
    if (row.sockets == sockets && (best == nullptr || better(row, *best))) best = &row;
  Algorithm chosen = best == nullptr ? BuiltIn(bytes, ranks, sockets) : best->algorithm;
  if (chosen == Algorithm::kBySocket && sockets < 2) chosen = Algorithm::kTwoPhases;
  return chosen;
}

AllReduceCost CostOf(Algorithm algorithm, double bytes, int ranks, int sockets) {
  switch (algorithm) {
    case Algorithm::kOnePhase:
      return {1, (1 + ranks) * bytes};
    case Algorithm::kTwoPhases:
      return {2, 3 * bytes};
    case Algorithm::kBySocket:
      return {2.0 + sockets, 3 * bytes};
  }
  std::abort();
}

}  // namespace onecopy::comm
