#include "runtime/cli/helper_cpus.h"

#include <gmock/gmock.h>

namespace onecopy::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Kind = HelperCpus::Kind;

// Nodes of `cores` cores, with `siblings` CPUs each, those numbered after all cores.
numa::Topology MachineOf(int nodes, int cores, int siblings) {
  numa::Topology topology;
  topology.host = "test";
  for (int n = 0; n < nodes; ++n) {
    numa::Node node;
    node.id = n;
    node.memory_bytes = node.free_bytes = 1 << 30;
    for (int s = 0; s < siblings; ++s)
      for (int c = 0; c < cores; ++c) node.cpus.push_back({s * nodes * cores + n * cores + c, n, c});
    topology.nodes.push_back(node);
  }
  return topology;
}

PlacementWish Bound(int threads) {
  return {.bind = true, .threads = threads, .places = {}};
}

TEST(HelperCpus, CoresThatAreLeftOverComeFirst) {
  const HelperCpus found = FindHelperCpus(MachineOf(2, 8, 2), Bound(6), 2, 3);
  EXPECT_EQ(found.kind, Kind::kCores);
  EXPECT_THAT(found.cpus, ElementsAre(6, 7)) << "of node 0; not their siblings, too";
}

TEST(HelperCpus, CoresOfOtherNodesWhereOwnOnesAllCompute) {
  // One rank on two nodes takes the first: the second's cores are idle.
  numa::Topology topology = MachineOf(2, 4, 2);
  const HelperCpus found = FindHelperCpus(topology, Bound(0), 1, 3);
  EXPECT_EQ(found.kind, Kind::kCores);
  EXPECT_THAT(found.cpus, ElementsAre(5, 6, 7));
  PlacementWish one_node = Bound(0);
  one_node.places.only_nodes = {0};
  EXPECT_EQ(FindHelperCpus(topology, one_node, 1, 3).kind, Kind::kSiblings)
      << "nodes that are not to be used";
}

TEST(HelperCpus, ElseSiblingsOfTheLastCoresOfRankZero) {
  const HelperCpus found = FindHelperCpus(MachineOf(2, 8, 2), Bound(0), 2, 3);
  EXPECT_EQ(found.kind, Kind::kSiblings);
  EXPECT_THAT(found.cpus, ElementsAre(21, 22, 23));
  // Four threads a core: one sibling of each.
  EXPECT_THAT(FindHelperCpus(MachineOf(1, 2, 4), Bound(0), 1, 3).cpus, ElementsAre(2, 3));
}

TEST(HelperCpus, NoneWhereAllComputeOrNothingIsPinned) {
  EXPECT_EQ(FindHelperCpus(MachineOf(2, 8, 1), Bound(0), 2, 3).kind, Kind::kShared);
  EXPECT_THAT(FindHelperCpus(MachineOf(1, 2, 2), Bound(0), 5, 3).cpus, IsEmpty()) << "more ranks than cores";
  EXPECT_THAT(FindHelperCpus(MachineOf(1, 4, 2), Bound(9), 1, 3).cpus, IsEmpty())
      << "more threads than cores";
  EXPECT_THAT(FindHelperCpus(MachineOf(1, 4, 2), {.bind = false, .threads = 1, .places = {}}, 1, 3).cpus,
              IsEmpty());
}

TEST(HelperCpus, NoneOfThemComputes) {
  for (const int ranks : {1, 2, 3, 4, 7}) {
    for (const int threads : {0, 1, 2}) {
      const numa::Topology topology = MachineOf(2, 4, 2);
      const HelperCpus found = FindHelperCpus(topology, Bound(threads), ranks, 3);
      for (int r = 0; r < ranks; ++r)
        for (const int cpu : Place(topology, Bound(threads), r, ranks).cpus)
          EXPECT_THAT(found.cpus, ::testing::Not(::testing::Contains(cpu))) << ranks << " " << threads;
      EXPECT_LE(found.cpus.size(), 3u);
    }
  }
}

}  // namespace
}  // namespace onecopy::cli
