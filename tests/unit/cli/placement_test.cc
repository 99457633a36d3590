#include "runtime/cli/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "runtime/base/error.h"

namespace onecopy::cli {
namespace {

using ::testing::ElementsAre;

// Nodes of `cores` cores with two SMT siblings each, siblings numbered after all cores.
numa::Topology Machine(int nodes, int cores) {
  numa::Topology topology;
  topology.host = "test";
  for (int n = 0; n < nodes; ++n) {
    numa::Node node;
    node.id = n;
    node.memory_bytes = node.free_bytes = 1 << 30;
    for (int smt = 0; smt < 2; ++smt)
      for (int c = 0; c < cores; ++c)
        node.cpus.push_back({smt * nodes * cores + n * cores + c, n, n * cores + c});
    topology.nodes.push_back(node);
  }
  return topology;
}

TEST(Placement, OneRankANodeTakesAllItsCoresOnce) {
  const auto topology = Machine(4, 8);
  std::set<int> cpus;
  for (int r = 0; r < 4; ++r) {
    const Placement p = Place(topology, {.bind = true, .threads = 0, .places = {}}, r, 4);
    EXPECT_EQ(p.node_id, r);
    EXPECT_EQ(p.threads, 8);
    EXPECT_TRUE(p.pin_threads);
    cpus.insert(p.cpus.begin(), p.cpus.end());
  }
  EXPECT_EQ(cpus.size(), 32u) << "no SMT sibling, no CPU twice";
  EXPECT_EQ(*cpus.rbegin(), 31);
}

TEST(Placement, RanksOnOneNodeShareOutItsCores) {
  const auto topology = Machine(1, 8);
  EXPECT_THAT(Place(topology, {.bind = true, .threads = 0, .places = {}}, 0, 3).cpus, ElementsAre(0, 1));
  EXPECT_THAT(Place(topology, {.bind = true, .threads = 0, .places = {}}, 1, 3).cpus, ElementsAre(2, 3, 4));
  EXPECT_THAT(Place(topology, {.bind = true, .threads = 0, .places = {}}, 2, 3).cpus, ElementsAre(5, 6, 7));
}

TEST(Placement, SomewhatMoreRanksThanCoresShareTheNodeUnpinned) {
  const auto topology = Machine(1, 2);
  const Placement p = Place(topology, {.bind = true, .threads = 0, .places = {}}, 4, 5);
  EXPECT_EQ(p.threads, 1);
  EXPECT_FALSE(p.pin_threads);
  EXPECT_EQ(p.cpus.size(), 4u) << "all CPUs of the node";
}

TEST(Placement, ManyMoreRanksThanCpusHaveACpuEachInTurn) {
  const auto topology = Machine(1, 2);
  std::map<int, int> ranks_on;
  for (int r = 0; r < 24; ++r) {
    const Placement p = Place(topology, {.bind = true, .threads = 0, .places = {}}, r, 24);
    EXPECT_EQ(p.threads, 1);
    ASSERT_EQ(p.cpus.size(), 1u);
    ++ranks_on[p.cpus[0]];
  }
  EXPECT_EQ(ranks_on, (std::map<int, int>{{0, 6}, {1, 6}, {2, 6}, {3, 6}}));
}

TEST(Placement, FewerRanksThanNodesAreSpread) {
  const auto topology = Machine(8, 4);
  EXPECT_EQ(Place(topology, {.bind = true, .threads = 0, .places = {}}, 0, 2).node_id, 0);
  EXPECT_EQ(Place(topology, {.bind = true, .threads = 0, .places = {}}, 1, 2).node_id, 4);
}

TEST(Placement, UnboundRanksKnowTheNodeOnlyWhereThereIsOne) {
  EXPECT_EQ(Place(Machine(1, 4), {.bind = false, .threads = 0, .places = {}}, 0, 1).node_id, 0);
  const Placement p = Place(Machine(2, 4), {.bind = false, .threads = 0, .places = {}}, 0, 1);
  EXPECT_EQ(p.node_id, -1);
  EXPECT_FALSE(p.place);
  EXPECT_EQ(p.threads, 8);
}

TEST(Placement, ANumberOfThreadsIsTaken) {
  const Placement few = Place(Machine(1, 8), {.bind = true, .threads = 3, .places = {}}, 0, 1);
  EXPECT_EQ(few.threads, 3);
  EXPECT_EQ(few.cpus.size(), 3u);
  const Placement many = Place(Machine(1, 2), {.bind = true, .threads = 5, .places = {}}, 0, 1);
  EXPECT_EQ(many.threads, 5);
  EXPECT_FALSE(many.pin_threads);
}

TEST(Placement, NoUsableNodeIsSaid) {
  auto topology = Machine(1, 2);
  topology.nodes[0].memory_bytes = 0;
  EXPECT_THROW(Place(topology, {.bind = true, .threads = 0, .places = {}}, 0, 1), Error);
}

TEST(Placement, RanksPerSocketTakeAllItsNodes) {
  auto topology = Machine(4, 4);
  for (auto& node : topology.nodes)
    for (auto& cpu : node.cpus) cpu.package = node.id / 2;
  PlacementWish wish;
  wish.bind = true;
  wish.places.per_socket = true;
  const Placement p = Place(topology, wish, 1, 2);
  EXPECT_THAT(p.place->nodes, ElementsAre(2, 3));
  EXPECT_EQ(p.threads, 8);
}

TEST(Placement, OnlyChosenNodesHoldRanks) {
  PlacementWish wish;
  wish.bind = true;
  wish.places.only_nodes = {1, 3};
  EXPECT_EQ(Place(Machine(4, 4), wish, 0, 2).node_id, 1);
  EXPECT_EQ(Place(Machine(4, 4), wish, 1, 2).node_id, 3);
}

TEST(Placement, WishesThatAreNoneAreUsageErrors) {
  setenv("ONECOPY_RANKS_PER", "core", 1);
  EXPECT_THROW(WishFromEnvironment(), Error);
  unsetenv("ONECOPY_RANKS_PER");
  setenv("ONECOPY_BIND", "sometimes", 1);
  EXPECT_THROW(WishFromEnvironment(), Error);
  setenv("ONECOPY_BIND", "numa", 1);
  setenv("ONECOPY_THREADS", "0", 1);
  EXPECT_THROW(WishFromEnvironment(), Error);
  setenv("ONECOPY_THREADS", "12", 1);
  EXPECT_EQ(WishFromEnvironment().threads, 12);
  EXPECT_TRUE(WishFromEnvironment().bind);
  unsetenv("ONECOPY_BIND");
  unsetenv("ONECOPY_THREADS");
}

}  // namespace
}  // namespace onecopy::cli
