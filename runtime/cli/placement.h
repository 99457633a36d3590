// Where a rank runs: its place on the host, CPUs and threads. Decided from the topology and the launcher's wishes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/numa/places.h"
#include "runtime/numa/topology.h"

namespace onecopy::cli {

// What the launcher asks for, through the environment.
struct PlacementWish {
  bool bind = false;          // ONECOPY_BIND: numa | none
  int threads = 0;            // ONECOPY_THREADS: a number; 0: one a core
  numa::PlaceOptions places;  // ONECOPY_NODES: 0,1; ONECOPY_RANKS_PER: node | socket
  numa::CpulessMemory memory_nodes = numa::CpulessMemory::kFast;  // ONECOPY_MEMORY_NODES: fast | none | all
};

struct Placement {
  std::optional<numa::Place> place;  // where CPUs and memory are bound; empty: not bound
  int node_id = -1;                  // for the report: also known where unbound on a machine of one node
  int sharers = 1;                   // ranks at this place, with this one
  std::vector<int> cpus;             // of the process; empty: unchanged
  int threads = 1;
  bool pin_threads = false;  // thread i to cpus[i]
};

// Reads the environment. Errors: kUsage for values that are not of the form above.
PlacementWish WishFromEnvironment();

// Ranks are spread evenly over the places in order; ranks at one place share out its cores. Pure.
// Errors: kCommunication where no node has both CPUs and memory this process may use; as numa::FindPlaces.
Placement Place(const numa::Topology& topology, const PlacementWish& wish, int rank_on_host,
                int ranks_on_host);

// A rank in its place: what is known of the host (from before the binding, after which the kernel shows less), and
// where on it the process now is.
struct Seat {
  numa::Topology topology;
  PlacementWish wish;
  Placement placement;
  int ranks_on_host = 1;

  // Memory of this rank. reserve: as numa::Homes.
  numa::Homes Homes(uint64_t reserve) const;
};

// Places this process and binds its CPUs and memory. topology: from before any binding. Errors: as Place and
// numa::BindProcess.
Seat TakeSeat(const numa::Topology& topology, const PlacementWish& wish, int rank_on_host, int ranks_on_host);

// Rank on this host and their number, as the MPI launcher has put them into the environment; nothing where it has not.
struct LocalRank {
  int rank = 0, ranks = 1;
  bool operator==(const LocalRank&) const = default;
};
std::optional<LocalRank> LauncherLocalRank();

}  // namespace onecopy::cli
