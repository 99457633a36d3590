// Where a rank runs: its node, CPUs and threads. Decided from the topology and the launcher's wishes; pure.
#pragma once

#include <string>
#include <vector>

#include "runtime/numa/topology.h"

namespace onecopy::cli {

// What the launcher asks for, from ONECOPY_BIND (numa | none) and ONECOPY_THREADS (a number).
struct PlacementWish {
  bool bind = false;
  int threads = 0;  // 0: one a core
};

struct Placement {
  const numa::Node* node = nullptr;  // where memory is bound; null: not bound
  int node_id = -1;                  // for the report: also known where unbound on a machine of one node
  std::vector<int> cpus;             // of the process; empty: unchanged
  int threads = 1;
  bool pin_threads = false;  // thread i to cpus[i]
};

// Reads the environment. Errors: kUsage for values that are not of the form above.
PlacementWish WishFromEnvironment();

// Ranks are spread evenly over the nodes in order; ranks on one node share out its cores.
// Errors: kCommunication where no node has both CPUs and memory this process may use.
Placement Place(const numa::Topology& topology, const PlacementWish& wish, int rank_on_host,
                int ranks_on_host);

}  // namespace onecopy::cli
