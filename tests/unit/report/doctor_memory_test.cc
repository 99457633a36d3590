// Checks of doctor about memory: pages, pools, limits, balancing. See doctor_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/report/doctor.h"
#include "tests/unit/report/doctor_test_support.h"

namespace onecopy::report {
namespace {

using onecopy::testing::CapturedTree;

TEST(Doctor, TransparentHugePagesNever) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
  ExpectFinding(Healthy(tree), "transparent_huge_pages", Level::kWarn, "never",
                "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
}

TEST(Doctor, HugePagesTakenWhenFreeOnlyAreAWarning) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  tree.Write("sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise [madvise] never\n");
  ExpectFinding(Healthy(tree), "transparent_huge_pages", Level::kOk, "madvise, defrag madvise", "");
  tree.Write("sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise madvise [never]\n");
  ExpectFinding(Healthy(tree), "transparent_huge_pages", Level::kWarn, "defrag never",
                "tee /sys/kernel/mm/transparent_hugepage/defrag");
}

TEST(Doctor, HugetlbPoolsAreShownByNodeWithTheOptionThatUsesThem) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  const std::string pool = "sys/devices/system/node/node1/hugepages/hugepages-2048kB/";
  ExpectFinding(Healthy(tree), "hugetlb_pool", Level::kOk, "--hugepages 2m", "");
  tree.Write(pool + "nr_hugepages", "512\n");
  tree.Write(pool + "free_hugepages", "500\n");
  ExpectFinding(Healthy(tree), "hugetlb_pool", Level::kOk, "500 of 512 pages of 2 MiB free on node 1", "");
  // A tenth of the machine that nothing else can use.
  tree.Write(pool + "nr_hugepages", "26000\n");
  tree.Write(pool + "free_hugepages", "26000\n");
  ExpectFinding(Healthy(tree), "hugetlb_pool", Level::kWarn, "only --hugepages 2m or 1g can use",
                "start with --hugepages 2m");
}

TEST(Doctor, HugetlbPoolOfAKernelThatShowsNoNodesIsFound) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "100\n");
  ExpectFinding(Healthy(tree), "hugetlb_pool", Level::kWarn, "100 of 100 pages of 1 GiB",
                "vm.nr_hugepages=0");
}

TEST(Doctor, NumaBalancingMattersOnlyOnSeveralNodes) {
  const CapturedTree many("2-node-xeon-6338-interleaved"), one("1-node-vm-growing-memory");
  DoctorInput input = Healthy(many);
  many.Write("proc/sys/kernel/numa_balancing", "1\n");
  ExpectFinding(input, "numa_balancing", Level::kWarn, "on", "sysctl kernel.numa_balancing=0");
  input = Healthy(one);
  one.Write("proc/sys/kernel/numa_balancing", "1\n");
  ExpectFinding(input, "numa_balancing", Level::kOk, "one node", "");
  one.Remove("proc/sys/kernel/numa_balancing");
  ExpectFinding(input, "numa_balancing", Level::kOk, "not in this kernel", "");
}

TEST(Doctor, ZoneReclaimMattersOnlyOnSeveralNodes) {
  const CapturedTree many("2-node-xeon-6338-interleaved"), one("1-node-vm-growing-memory");
  ExpectFinding(Healthy(many), "zone_reclaim", Level::kOk, "not in this kernel", "");
  many.Write("proc/sys/vm/zone_reclaim_mode", "1\n");
  one.Write("proc/sys/vm/zone_reclaim_mode", "1\n");
  ExpectFinding(Healthy(many), "zone_reclaim", Level::kWarn, "mode 1", "vm.zone_reclaim_mode=0");
  ExpectFinding(Healthy(one), "zone_reclaim", Level::kOk, "one node", "");
}

TEST(Doctor, SwapIsAWarningWhereItMayTakeExperts) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  ExpectFinding(Healthy(tree), "swap", Level::kOk, "none", "");
  tree.Write("proc/meminfo", "MemTotal: 1000 kB\nSwapTotal: 8000000 kB\nSwapFree: 8000000 kB\n");
  tree.Write("proc/sys/vm/swappiness", "1\n");
  ExpectFinding(Healthy(tree), "swap", Level::kOk, "0 B of 8.19 GB in use, swappiness 1", "");
  tree.Write("proc/sys/vm/swappiness", "60\n");
  ExpectFinding(Healthy(tree), "swap", Level::kWarn, "swappiness 60", "--mlock");
  tree.Write("proc/sys/vm/swappiness", "1\n");
  tree.Write("proc/meminfo", "MemTotal: 1000 kB\nSwapTotal: 8000000 kB\nSwapFree: 4000000 kB\n");
  ExpectFinding(Healthy(tree), "swap", Level::kWarn, "4.10 GB of", "swapoff");
}

TEST(Doctor, MemoryHighThrottlesBeforeTheLimitKills) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("sys/fs/cgroup/user.slice/memory.max", "max\n");
  tree.Write("sys/fs/cgroup/user.slice/memory.high", "107374182400\n");
  ExpectFinding(Healthy(tree), "cgroup_memory", Level::kWarn, "memory.high 107 GB of 546 GB", "MemoryHigh");
}

TEST(Doctor, MissingMemoryModuleIsNoticed) {
  const CapturedTree tree("8-node-epyc-7763-nps4");
  ExpectFinding(Healthy(tree), "node_memory", Level::kOk, "on node 0 to", "");
  tree.Write("sys/devices/system/node/node5/meminfo", "Node 5 MemTotal: 33554432 kB\nNode 5 MemFree: 1 kB\n");
  ExpectFinding(Healthy(tree), "node_memory", Level::kWarn, "on node 5", "dmidecode");
}

TEST(Doctor, ControlGroupsThatLimitAreNamed) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("sys/fs/cgroup/user.slice/memory.max", "107374182400\n");
  tree.Write("sys/fs/cgroup/user.slice/cpu.max", "4800000 100000\n");
  ExpectFinding(Healthy(tree), "cgroup_memory", Level::kWarn, "107 GB of 546 GB", "--memory");
  ExpectFinding(Healthy(tree), "cgroup_cpus", Level::kWarn, "48.0 CPUs of time for 64 cores", "--cpus");
}

TEST(Doctor, SharedMemoryTooSmallIsAnErrorOnlyForSeveralRanks) {
  const CapturedTree many("2-node-xeon-6338-interleaved"), one("1-node-vm-growing-memory");
  DoctorInput input = Healthy(many);
  input.shm_bytes = uint64_t{64} << 20;  // what containers get by default
  ExpectFinding(input, "shared_memory", Level::kError, "2 ranks", "--shm-size");
  input.shm_bytes.reset();
  ExpectFinding(input, "shared_memory", Level::kError, "absent", "/dev/shm");
  input = Healthy(one);
  input.shm_bytes.reset();
  ExpectFinding(input, "shared_memory", Level::kOk, "absent", "");
}

TEST(Doctor, MemlockLimitIsShown) {
  const CapturedTree tree("1-node-vm-growing-memory"), unlimited("2-node-xeon-6338-interleaved");
  ExpectFinding(Healthy(tree), "memlock", Level::kOk, "8.39 MB", "");
  ExpectFinding(Healthy(unlimited), "memlock", Level::kOk, "unlimited", "");
}

}  // namespace
}  // namespace onecopy::report
