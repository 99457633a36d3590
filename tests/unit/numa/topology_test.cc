// Topology and cgroup limits against captured machines. Where a .hwloc file lies beside the machine, hwloc's own reading
// of the same tree is the expectation.
#include "runtime/numa/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <set>
#include <sstream>

#include "runtime/base/error.h"
#include "runtime/numa/cgroup.h"
#include "runtime/numa/places.h"
#include "runtime/numa/sysfs.h"
#include "tests/support/captured_tree.h"

namespace onecopy::numa {
namespace {

using onecopy::testing::CapturedTree;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kGib = uint64_t{1} << 30;

std::vector<int> Ids(const std::vector<Cpu>& cpus) {
  std::vector<int> out;
  for (const Cpu& cpu : cpus) out.push_back(cpu.id);
  return out;
}

std::vector<int> RankNodeIds(const Topology& topology) {
  std::vector<int> out;
  for (const Place& place : FindPlaces(topology)) out.push_back(place.id);
  return out;
}

std::string Allow(const std::string& cpus, const std::string& mems) {
  return "Name:\tonecopy\nCpus_allowed_list:\t" + cpus + "\nMems_allowed_list:\t" + mems + "\n";
}

// --- Against hwloc -----------------------------------------------------------------------------------------------

class HwlocTrees : public ::testing::TestWithParam<const char*> {};

TEST_P(HwlocTrees, NodesCpusAndMemoryAreThoseThatHwlocSees) {
  const CapturedTree tree(GetParam());
  const Topology topology = ReadTopology(tree.root());
  std::ifstream expected(std::string(ONECOPY_TEST_DATA) + "/sysfs/" + GetParam() + ".hwloc");
  ASSERT_TRUE(expected) << GetParam();
  size_t row = 0;
  for (std::string line; std::getline(expected, line); ++row) {
    int id = -1;
    uint64_t memory_bytes = 0;
    std::string cpus;
    std::istringstream(line) >> id >> memory_bytes >> cpus;
    ASSERT_LT(row, topology.nodes.size());
    const Node& node = topology.nodes[row];
    EXPECT_EQ(node.id, id);
    // Of an only node the memory is that of /proc/meminfo, which leaves out what the kernel itself holds.
    if (topology.nodes.size() > 1 || !topology.sysfs_numa) {
      EXPECT_EQ(node.memory_bytes, memory_bytes) << "node " << id;
    }
    // hwloc gives a node without CPUs those of its package.
    if (!node.cpus.empty()) {
      EXPECT_EQ(FormatIdList(Ids(node.cpus)), cpus) << "node " << id;
    }
  }
  EXPECT_EQ(topology.nodes.size(), row);
}

INSTANTIATE_TEST_SUITE_P(All, HwlocTrees,
                         ::testing::Values("0-node-s390", "1-node-xeon", "4-node-xeon-96-cores",
                                           "8-node-knl-snc4-hbm", "8-node-opteron-sparse-ids",
                                           "8-node-power9-gpu-memory", "11-node-cpus-apart-from-memory"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// --- Shapes of machines ------------------------------------------------------------------------------------------

TEST(Topology, TwentyFourNodeServerHasEightCoresANodeAndOneThreadACore) {
  const CapturedTree tree("24-node-epyc-9655");
  const Topology topology = ReadTopology(tree.root());
  ASSERT_EQ(FindPlaces(topology).size(), 24u);
  std::set<int> cores;
  for (const Place& place : FindPlaces(topology)) {
    const std::vector<int> first = CpuIds(place.cpus, false);
    EXPECT_EQ(first.size(), 8u) << "node " << place.id;
    for (int cpu : first) EXPECT_LT(cpu, 192) << "a second SMT sibling stands for a core";
    cores.insert(first.begin(), first.end());
    EXPECT_EQ(place.cpus[0].package, place.id / 12);
  }
  EXPECT_EQ(cores.size(), 192u);
  EXPECT_EQ(topology.nodes[13].distances[12], 11);
  EXPECT_EQ(topology.nodes[13].distances[11], 32);
}

TEST(Topology, SmtSiblingsFollowAfterAllFirstOnes) {
  const CapturedTree tree("24-node-epyc-9655");
  const Topology topology = ReadTopology(tree.root());
  EXPECT_THAT(CpuIds(topology.nodes[1].cpus, true),
              ElementsAre(8, 9, 10, 11, 12, 13, 14, 15, 200, 201, 202, 203, 204, 205, 206, 207));
}

TEST(Topology, InterleavedNumberingKeepsEachNodesOwnCpus) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  const Topology topology = ReadTopology(tree.root());
  ASSERT_EQ(topology.nodes.size(), 2u);
  for (const Node& node : topology.nodes) {
    EXPECT_EQ(node.cpus.size(), 64u);
    for (const Cpu& cpu : node.cpus) {
      EXPECT_EQ(cpu.id % 2, node.id);
      EXPECT_EQ(cpu.package, node.id);
    }
    EXPECT_EQ(CpuIds(node.cpus, false).size(), 32u);
  }
}

TEST(Topology, SeveralNodesOfOnePackageEachHoldARank) {
  const CapturedTree tree("8-node-epyc-7763-nps4");
  const Topology topology = ReadTopology(tree.root());
  EXPECT_THAT(RankNodeIds(topology), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(topology.nodes[3].cpus[0].package, 0);
  EXPECT_EQ(topology.nodes[4].cpus[0].package, 1);
}

TEST(Topology, HbmNodesWithoutCpusHoldNoRank) {
  const CapturedTree tree("8-node-knl-snc4-hbm");
  const Topology topology = ReadTopology(tree.root());
  EXPECT_EQ(topology.nodes.size(), 8u);
  EXPECT_THAT(RankNodeIds(topology), ElementsAre(0, 1, 2, 3));
}

TEST(Topology, FourWaySmtOfPower9IsOneCpuACore) {
  const CapturedTree tree("8-node-power9-gpu-memory");
  const Topology topology = ReadTopology(tree.root());
  EXPECT_THAT(RankNodeIds(topology), ElementsAre(0, 8));
  EXPECT_THAT(CpuIds(topology.nodes[1].cpus, false), ElementsAre(88, 92, 96, 100));
}

TEST(Topology, WithoutNumaInSysfsEverythingIsNodeZero) {
  const CapturedTree tree("0-node-s390");
  const Topology topology = ReadTopology(tree.root());
  EXPECT_FALSE(topology.sysfs_numa);
  ASSERT_THAT(RankNodeIds(topology), ElementsAre(0));
  EXPECT_EQ(topology.nodes[0].memory_bytes, 1025408ull * 1024);
  EXPECT_EQ(topology.nodes[0].free_bytes, 93396 * 1024ull);
  EXPECT_THAT(CpuIds(topology.nodes[0].cpus, false), ElementsAre(0, 1));
  EXPECT_THAT(topology.nodes[0].distances, ElementsAre(10));
}

TEST(Topology, OnlyNodeHasTheMemoryOfProcMeminfo) {
  const CapturedTree tree("1-node-vm-growing-memory");
  tree.Write("sys/devices/system/node/node0/meminfo",
             "Node 0 MemTotal: 4679884 kB\nNode 0 MemFree: 4221264 kB\n");
  tree.Write("proc/meminfo", "MemTotal: 24684084 kB\nMemFree: 24050428 kB\nMemAvailable: 24090712 kB\n");
  const Topology topology = ReadTopology(tree.root());
  EXPECT_TRUE(topology.sysfs_numa);
  EXPECT_EQ(topology.nodes[0].memory_bytes, 24684084ull * 1024);
  EXPECT_EQ(topology.nodes[0].free_bytes, 24090712ull * 1024);
}

TEST(Topology, FreeMemoryCountsCleanPageCacheOnly) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write(
      "sys/devices/system/node/node1/meminfo",
      "Node 1 MemTotal: 1000 kB\nNode 1 MemFree: 100 kB\nNode 1 Active: 900 kB\nNode 1 Inactive: 900 kB\n"
      "Node 1 Active(file): 40 kB\nNode 1 Inactive(file): 30 kB\nNode 1 Dirty: 20 kB\nNode 1 Writeback: 5 "
      "kB\n");
  EXPECT_EQ(ReadTopology(tree.root()).nodes[1].free_bytes, (100 + 40 + 30 - 20 - 5) * 1024ull);
}

// --- What the process may use --------------------------------------------------------------------------------------

TEST(Topology, CpusetLeavesOnlyNodesWithAllowedCpusAndMemory) {
  const CapturedTree tree("8-node-epyc-7763-nps4");
  tree.Write("proc/self/status", Allow("16-47,160-163", "1-3"));
  const Topology topology = ReadTopology(tree.root());
  EXPECT_THAT(RankNodeIds(topology), ElementsAre(1, 2));
  EXPECT_FALSE(topology.nodes[0].memory_allowed);
  EXPECT_TRUE(topology.nodes[3].memory_allowed);
  EXPECT_TRUE(topology.nodes[3].cpus.empty());
  // Node 2 has CPUs 32-47 and their siblings 160-163: 16 cores all the same.
  EXPECT_EQ(topology.nodes[2].cpus.size(), 20u);
  EXPECT_EQ(CpuIds(topology.nodes[2].cpus, false).size(), 16u);
}

TEST(Topology, SecondSiblingStandsForItsCoreWhenTheFirstIsNotAllowed) {
  const CapturedTree tree("24-node-epyc-9655");
  tree.Write("proc/self/status", Allow("0,193-194", "0-23"));
  const Topology topology = ReadTopology(tree.root());
  EXPECT_THAT(CpuIds(topology.nodes[0].cpus, false), ElementsAre(0, 193, 194));
}

TEST(Topology, OfflineAndImpossibleCpusAreLeftOut) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("sys/devices/system/cpu/online", "0-3,5");
  tree.Write("proc/self/status", Allow("0-511", "0-1023"));
  const Topology topology = ReadTopology(tree.root());
  EXPECT_THAT(Ids(topology.nodes[0].cpus), ElementsAre(0, 2));
  EXPECT_THAT(Ids(topology.nodes[1].cpus), ElementsAre(1, 3, 5));
}

TEST(Topology, NoUsableCpuIsAnErrorThatSaysWhereItLooked) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("proc/self/status", Allow("700-701", "0-1"));
  try {
    ReadTopology(tree.root());
    FAIL() << "did not throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInternal);
    EXPECT_THAT(e.what(), HasSubstr("sys/devices/system/cpu/online"));
  }
}

TEST(Topology, ThisMachineHasACpuAndMemoryForARank) {
  const Topology topology = ReadTopology();
  ASSERT_FALSE(FindPlaces(topology).empty());
  EXPECT_FALSE(topology.host.empty());
  for (const Node& node : topology.nodes) {
    EXPECT_EQ(node.distances.size(), topology.nodes.size());
    EXPECT_LE(node.free_bytes, node.memory_bytes);
  }
}

// --- Control groups ------------------------------------------------------------------------------------------------

TEST(Cgroup, LeastLimitOfTheGroupAndItsParentsCounts) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("proc/self/cgroup", "0::/kubepods.slice/pod.slice/container\n");
  tree.Write("sys/fs/cgroup/kubepods.slice/memory.max", "34359738368\n");
  tree.Write("sys/fs/cgroup/kubepods.slice/pod.slice/memory.max", "17179869184\n");
  tree.Write("sys/fs/cgroup/kubepods.slice/pod.slice/container/memory.max", "max\n");
  tree.Write("sys/fs/cgroup/kubepods.slice/pod.slice/container/cpu.max", "250000 100000\n");
  EXPECT_EQ(ReadTopology(tree.root()).cgroup_limit_bytes, 16 * kGib);
  EXPECT_DOUBLE_EQ(ReadCgroupLimits(tree.root()).cpus, 2.5);
}

TEST(Cgroup, ContainerWithANamespaceReadsItsOwnRoot) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("proc/self/cgroup", "0::/\n");
  tree.Write("sys/fs/cgroup/memory.max", "8589934592\n");
  EXPECT_EQ(ReadTopology(tree.root()).cgroup_limit_bytes, 8 * kGib);
}

TEST(Cgroup, VersionOneContainerWhosePathIsTheHostsReadsTheMountsRoot) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("proc/self/cgroup", "7:cpu,cpuacct:/docker/0123\n4:memory:/docker/0123\n0::/system.slice\n");
  tree.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4294967296\n");
  tree.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");
  tree.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(ReadCgroupLimits(tree.root()).memory_bytes, 4 * kGib);
  EXPECT_DOUBLE_EQ(ReadCgroupLimits(tree.root()).cpus, 4);
}

TEST(Cgroup, NoLimitIsNoLimitInBothVersions) {
  const CapturedTree v1("1-node-vm-growing-memory"), v2("24-node-epyc-9655");
  EXPECT_EQ(ReadCgroupLimits(v1.root()).memory_bytes, UINT64_MAX);
  EXPECT_EQ(ReadCgroupLimits(v2.root()).memory_bytes, UINT64_MAX);
  EXPECT_EQ(ReadCgroupLimits(v2.root()).cpus, std::numeric_limits<double>::infinity());
}

// --- Parsing -------------------------------------------------------------------------------------------------------

TEST(IdList, ParsesWhatTheKernelPrints) {
  EXPECT_THAT(ParseIdList("0-3,8\n", "t"), ElementsAre(0, 1, 2, 3, 8));
  EXPECT_THAT(ParseIdList("7", "t"), ElementsAre(7));
  EXPECT_THAT(ParseIdList("5,1-2,2", "t"), ElementsAre(1, 2, 5));
  EXPECT_TRUE(ParseIdList("\n", "t").empty());
}

TEST(IdList, RejectsOtherTextAndRangesNoMachineHas) {
  for (const char* text :
       {"a", "1-", "-3", "3-1", "1,,2", "0-99999999999", "18446744073709551616", "0-70000"}) {
    EXPECT_THROW(ParseIdList(text, "t"), Error) << text;
  }
}

TEST(IdList, FormatIsTheInverseOfParse) {
  for (const char* text : {"", "0", "0-1", "0-95,192-287", "1,3,5-7"}) {
    EXPECT_EQ(FormatIdList(ParseIdList(text, "t")), text);
  }
}

}  // namespace
}  // namespace onecopy::numa
