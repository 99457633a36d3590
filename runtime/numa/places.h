// Places: where ranks can live on this host. A place is a NUMA node (or all nodes of a socket) with memory and
// CPUs, and what lies nearest to it: CPUs whose own node has no memory, memory whose node has no CPUs. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/numa/topology.h"

namespace onecopy::numa {

struct Place {
  int id = 0;              // its first node: what messages and reports call it
  std::vector<int> nodes;  // whose memory the rank is bound to: one node, or those of a socket; ascending
  std::vector<Cpu> cpus;   // of those nodes and of cpu_donors, ascending
  // Nodes with CPUs that this process may use, but no memory that it may: their CPUs work from this place, the
  // nearest (the lowest id of several).
  std::vector<int> cpu_donors;
  // Nodes with memory but no CPU that this process may use, nearest to this place. Fast: the firmware (ACPI HMAT,
  // through sysfs) states a higher read bandwidth than for the place's own memory (HBM of a Xeon Max in flat mode).
  // Slow: a lower one or none (CXL; or a cpuset that took a node's CPUs away).
  std::vector<int> fast_memory, slow_memory;
};

// What memory without CPUs is used for.
enum class CpulessMemory {
  kFast,  // fast memory before the node's own
  kNone,
  kAll,  // fast memory first; slow memory for what does not fit elsewhere
};

struct PlaceOptions {
  std::vector<int> only_nodes;  // empty: all
  bool per_socket = false;      // one place a socket in place of one a node
};

// In order of node ids; empty where no node has CPUs and memory that this process may use.
// Errors: kUsage where only_nodes names a node that does not exist or cannot hold a rank.
std::vector<Place> FindPlaces(const Topology& topology, const PlaceOptions& options = {});

// A part of a rank's memory on one node; node -1: wherever the kernel puts it.
struct Extent {
  int node = -1;
  uint64_t bytes = 0;
};

// Hands out the memory of a place to the arenas of a rank, in the order in which they ask: fast memory first, the
// place's own nodes (by turns, in stripes, where it has several), slow memory last. Belongs to one rank.
class Homes {
 public:
  // Unbound: all extents have node -1.
  Homes() = default;
  // sharers: ranks at this place; each may take an equal part of its memory. reserve: bytes of the place's own
  // nodes to leave for what is not in arenas (workspace, MPI, code), for this rank.
  Homes(const Topology& topology, const Place& place, CpulessMemory cpuless, int sharers, uint64_t reserve);

  // Extents of together `bytes` rounded up to `granule`, each a multiple of it. What fits nowhere is put on the
  // place's own nodes all the same: whether all fits is for the caller to know before (shard/fit.h).
  std::vector<Extent> Take(uint64_t bytes, uint64_t granule);

  // Bytes left on all nodes, before anything is taken: what the rank may use. UINT64_MAX when unbound.
  uint64_t available() const { return available_; }

 private:
  // Nodes that are filled together, and what is left of them.
  struct Tier {
    std::vector<Extent> nodes;
  };
  std::vector<Tier> tiers_;
  size_t own_ = 0;  // index of the place's own nodes
  uint64_t available_ = UINT64_MAX;
};

}  // namespace onecopy::numa
