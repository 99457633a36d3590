// On the machine at hand, whatever it is: small buffers, since only what is measured and said matters here.
#include "runtime/report/node_bandwidth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/numa/binding.h"

namespace onecopy::report {
namespace {

constexpr uint64_t kSmall = 8 << 20;

numa::Topology WithFree(numa::Topology topology, uint64_t bytes) {
  for (numa::Node& node : topology.nodes) node.free_bytes = bytes;
  return topology;
}

TEST(NodeBandwidth, EveryPlaceReadsItsOwnMemoryAtAPlausibleRate) {
  const numa::Topology topology = numa::ReadTopology();
  const auto places = numa::FindPlaces(topology);
  const NodeBandwidths measured =
      MeasureNodeBandwidths(topology, places, {.budget_seconds = 60, .most_bytes = kSmall});
  ASSERT_EQ(measured.at_once.size(), places.size());
  for (const numa::Place& place : places) {
    const PairBandwidth* own = measured.Find(place.id, place.id);
    ASSERT_NE(own, nullptr);
    EXPECT_EQ(own->why_not, "");
    EXPECT_GT(own->bytes_per_second, 10e6);
    EXPECT_LT(own->bytes_per_second, 10e12);
  }
  EXPECT_GT(measured.sum, 10e6);
}

TEST(NodeBandwidth, CallerStaysOnItsCpus) {
  const numa::Topology topology = numa::ReadTopology();
  const std::vector<int> before = numa::CurrentCpus();
  MeasureNodeBandwidths(topology, numa::FindPlaces(topology), {.budget_seconds = 60, .most_bytes = kSmall});
  EXPECT_EQ(numa::CurrentCpus(), before);
}

TEST(NodeBandwidth, NodeWithoutFreeMemorySaysSo) {
  const numa::Topology topology = WithFree(numa::ReadTopology(), 1 << 20);
  const NodeBandwidths measured = MeasureNodeBandwidths(topology, numa::FindPlaces(topology));
  ASSERT_FALSE(measured.empty());
  for (const PairBandwidth& pair : measured.pairs) {
    EXPECT_EQ(pair.bytes_per_second, 0);
    EXPECT_THAT(pair.why_not, ::testing::HasSubstr("has only"));
  }
  EXPECT_EQ(measured.sum, 0);
}

TEST(NodeBandwidth, WithoutTimeNothingIsMeasuredAndItSaysSo) {
  const numa::Topology topology = numa::ReadTopology();
  const NodeBandwidths measured =
      MeasureNodeBandwidths(topology, numa::FindPlaces(topology), {.budget_seconds = 0});
  ASSERT_FALSE(measured.empty());
  for (const PairBandwidth& pair : measured.pairs)
    EXPECT_THAT(pair.why_not, ::testing::HasSubstr("slow to measure"));
}

TEST(NodeBandwidth, CpuThatDoesNotExistIsSaidNotFatal) {
  numa::Topology topology = numa::ReadTopology();
  auto places = numa::FindPlaces(topology);
  ASSERT_FALSE(places.empty());
  places.resize(1);
  places[0].cpus = {{4000, 0, 0}};
  const NodeBandwidths measured =
      MeasureNodeBandwidths(topology, places, {.budget_seconds = 60, .most_bytes = kSmall});
  ASSERT_FALSE(measured.pairs.empty());
  EXPECT_THAT(measured.pairs[0].why_not, ::testing::HasSubstr("4000"));
}

}  // namespace
}  // namespace onecopy::report
