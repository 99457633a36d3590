// Which nodes hold ranks, whose CPUs and memory they take along, and how a place's memory is handed out.
#include "runtime/numa/places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "tests/support/captured_tree.h"

namespace onecopy::numa {
namespace {

using onecopy::testing::CapturedTree;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kPlaceMib = uint64_t{1} << 20;

Node MakeNode(int id, const std::vector<int>& cpus, uint64_t free_bytes, std::vector<int> distances) {
  Node node;
  node.id = id;
  for (int cpu : cpus) node.cpus.push_back({cpu, 0, cpu});
  node.memory_bytes = node.free_bytes = free_bytes;
  node.distances = std::move(distances);
  return node;
}

// Two sockets: nodes 0 and 1 with CPUs and memory, node 2 without CPUs nearest to 1, node 3 without memory nearest
// to 0.
Topology OddMachine() {
  Topology topology;
  topology.nodes = {MakeNode(0, {0, 1}, 100 * kPlaceMib, {10, 21, 31, 14}),
                    MakeNode(1, {2, 3}, 100 * kPlaceMib, {21, 10, 17, 24}),
                    MakeNode(2, {}, 40 * kPlaceMib, {31, 17, 10, 40}),
                    MakeNode(3, {4, 5}, 0, {14, 24, 40, 10})};
  for (Node* node : {&topology.nodes[1], &topology.nodes[2]})
    for (Cpu& cpu : node->cpus) cpu.package = 1;
  return topology;
}

std::vector<int> CpuIds(const std::vector<Cpu>& cpus) {
  return CpuIds(cpus, true);
}

bool Same(const std::vector<Extent>& found, const std::vector<Extent>& expected) {
  return std::equal(found.begin(), found.end(), expected.begin(), expected.end(),
                    [](const Extent& a, const Extent& b) { return a.node == b.node && a.bytes == b.bytes; });
}

TEST(Places, CpusWithoutMemoryWorkFromTheNearestNode) {
  const auto places = FindPlaces(OddMachine());
  ASSERT_EQ(places.size(), 2u);
  EXPECT_THAT(CpuIds(places[0].cpus), ElementsAre(0, 1, 4, 5));
  EXPECT_THAT(places[0].cpu_donors, ElementsAre(3));
  EXPECT_THAT(CpuIds(places[1].cpus), ElementsAre(2, 3));
}

TEST(Places, MemoryWithoutCpusBelongsToTheNearestNodeAndIsSlowUnlessStatedFaster) {
  Topology topology = OddMachine();
  EXPECT_THAT(FindPlaces(topology)[1].slow_memory, ElementsAre(2));
  topology.nodes[1].stated_read_bandwidth = 200'000'000'000;
  topology.nodes[2].stated_read_bandwidth = 100'000'000'000;
  EXPECT_THAT(FindPlaces(topology)[1].slow_memory, ElementsAre(2));
  topology.nodes[2].stated_read_bandwidth = 400'000'000'000;
  const auto places = FindPlaces(topology);
  EXPECT_THAT(places[1].fast_memory, ElementsAre(2));
  EXPECT_THAT(places[1].slow_memory, IsEmpty());
}

TEST(Places, AllowedCpusWhoseMemoryIsForbiddenJoinAnAllowedNode) {
  Topology topology = OddMachine();
  topology.nodes[1].memory_allowed = false;
  const auto places = FindPlaces(topology);
  ASSERT_EQ(places.size(), 1u);
  EXPECT_THAT(CpuIds(places[0].cpus), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(places[0].slow_memory, ElementsAre(2));
}

TEST(Places, ChosenNodesLeaveOutTheOthersAndTheirNeighbours) {
  const auto places = FindPlaces(OddMachine(), {.only_nodes = {1}});
  ASSERT_EQ(places.size(), 1u);
  EXPECT_EQ(places[0].id, 1);
  EXPECT_THAT(CpuIds(places[0].cpus), ElementsAre(2, 3));  // not those of node 3, whose home is node 0
}

TEST(Places, NodeThatCannotHoldARankIsRefusedByName) {
  try {
    FindPlaces(OddMachine(), {.only_nodes = {1, 3}});
    FAIL() << "did not throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_THAT(e.what(), HasSubstr("node 3 cannot hold a rank; nodes with CPUs and memory here: 0-1"));
  }
}

TEST(Places, OneASocketTakesAllItsNodes) {
  const CapturedTree tree("24-node-epyc-9655");
  const auto places = FindPlaces(ReadTopology(tree.root()), {.per_socket = true});
  ASSERT_EQ(places.size(), 2u);
  EXPECT_EQ(places[0].nodes.size(), 12u);
  EXPECT_THAT(places[1].nodes, ElementsAre(12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23));
  EXPECT_EQ(places[1].cpus.size(), 192u);
  EXPECT_EQ(CpuIds(places[1].cpus, false).size(), 96u);
}

TEST(Places, HbmOfKnlIsNearToItsQuadrantAndSlowAsLongAsFirmwareSaysNothing) {
  const CapturedTree tree("8-node-knl-snc4-hbm");
  const auto places = FindPlaces(ReadTopology(tree.root()));
  ASSERT_EQ(places.size(), 4u);
  // By the distances of the captured machine: 31 within a quadrant, 41 to the others.
  EXPECT_THAT(places[0].slow_memory, ElementsAre(7));
  EXPECT_THAT(places[1].slow_memory, ElementsAre(4));
  EXPECT_THAT(places[2].slow_memory, ElementsAre(5));
  EXPECT_THAT(places[3].slow_memory, ElementsAre(6));
}

TEST(Places, WhereCpusAndMemoryAreApartTheMemoryNearestToCpusHoldsRanks) {
  const CapturedTree tree("11-node-cpus-apart-from-memory");
  const Topology topology = ReadTopology(tree.root());
  const auto places = FindPlaces(topology);
  ASSERT_FALSE(places.empty());
  size_t cpus = 0;
  for (const Place& place : places) {
    EXPECT_GT(topology.Find(place.id)->memory_bytes, 0u);
    EXPECT_FALSE(place.cpus.empty());
    cpus += place.cpus.size();
  }
  size_t all = 0;
  for (const Node& node : topology.nodes) all += node.cpus.size();
  EXPECT_EQ(cpus, all);
}

TEST(Homes, FastMemoryFirstThenOwnThenSlow) {
  Topology topology = OddMachine();
  Place place;
  place.nodes = {0};
  place.fast_memory = {2};
  place.slow_memory = {1};
  Homes homes(topology, place, CpulessMemory::kAll, 1, 10 * kPlaceMib);
  EXPECT_EQ(homes.available(), 240 * kPlaceMib);
  EXPECT_TRUE(Same(homes.Take(39 * kPlaceMib, 2 * kPlaceMib), {{2, 40 * kPlaceMib}}));
  EXPECT_TRUE(Same(homes.Take(100 * kPlaceMib, 2 * kPlaceMib), {{0, 90 * kPlaceMib}, {1, 10 * kPlaceMib}}));
}

TEST(Homes, CpulessMemoryIsLeftAloneWhereTheOwnerSaysSo) {
  Topology topology = OddMachine();
  Place place;
  place.nodes = {0};
  place.fast_memory = {2};
  Homes homes(topology, place, CpulessMemory::kNone, 1, 0);
  EXPECT_EQ(homes.available(), 100 * kPlaceMib);
  EXPECT_TRUE(Same(homes.Take(10 * kPlaceMib, 2 * kPlaceMib), {{0, 10 * kPlaceMib}}));
}

TEST(Homes, SharersDivideAPlace) {
  Place place;
  place.nodes = {0};
  Homes homes(OddMachine(), place, CpulessMemory::kFast, 4, 0);
  EXPECT_EQ(homes.available(), 25 * kPlaceMib);
}

TEST(Homes, NodesOfASocketTakeTurns) {
  Place place;
  place.nodes = {0, 1};
  Homes homes(OddMachine(), place, CpulessMemory::kFast, 1, 0);
  const auto extents = homes.Take(64 * kPlaceMib, 2 * kPlaceMib);
  ASSERT_EQ(extents.size(), 32u);
  for (size_t i = 0; i < extents.size(); ++i) EXPECT_EQ(extents[i].node, static_cast<int>(i % 2));
}

TEST(Homes, WhatFitsNowhereIsStillBoundToTheOwnNode) {
  Place place;
  place.nodes = {0};
  Homes homes(OddMachine(), place, CpulessMemory::kFast, 1, 0);
  EXPECT_TRUE(Same(homes.Take(200 * kPlaceMib, 2 * kPlaceMib), {{0, 200 * kPlaceMib}}));
}

TEST(Homes, UnboundGoesAnywhere) {
  Homes homes;
  EXPECT_EQ(homes.available(), UINT64_MAX);
  EXPECT_TRUE(Same(homes.Take(3 * kPlaceMib, 2 * kPlaceMib), {{-1, 4 * kPlaceMib}}));
}

}  // namespace
}  // namespace onecopy::numa
