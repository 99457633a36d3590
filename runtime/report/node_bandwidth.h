// How fast the cores of a NUMA node read its memory and that of other nodes, measured by threads pinned on the cores.
// Not thread-safe; the calling thread stays where it is.
#pragma once

#include <string>
#include <vector>

#include "runtime/numa/places.h"
#include "runtime/numa/topology.h"

namespace onecopy::report {

struct PairBandwidth {
  int cpu_node = 0, memory_node = 0;
  double bytes_per_second = 0;  // 0: not measured
  std::string why_not;
};

struct NodeBandwidths {
  std::vector<PairBandwidth> pairs;    // own memory of each place first, then others'
  std::vector<PairBandwidth> at_once;  // own memory, all places reading at the same time
  double sum = 0;                      // of at_once
  bool empty() const { return pairs.empty(); }
  const PairBandwidth* Find(int cpu_node, int memory_node) const;
};

struct NodeBandwidthOptions {
  double budget_seconds = 10;        // what is not measured by then says so
  uint64_t most_bytes = 256u << 20;  // of a node's memory, and at most a quarter of what it has free
};

// All pairs of places up to 4 of them, else one for each distance that the first node knows; and memory without CPUs
// from the place that is nearest to it.
NodeBandwidths MeasureNodeBandwidths(const numa::Topology& topology, const std::vector<numa::Place>& places,
                                     const NodeBandwidthOptions& options = {});

}  // namespace onecopy::report
