// Each check of doctor on captured machines, one file of which is changed to what the check is there for.
#include "runtime/report/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/captured_tree.h"

namespace onecopy::report {
namespace {

using onecopy::testing::CapturedTree;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uint64_t kGib = uint64_t{1} << 30;

// A machine that is well set up but for what the test changes afterwards.
DoctorInput Healthy(const CapturedTree& tree) {
  tree.Write("proc/sys/kernel/numa_balancing", "0\n");
  DoctorInput input;
  input.root = tree.root();
  input.topology = numa::ReadTopology(tree.root());
  input.kernels = {{"avx2", "AVX2, FMA, F16C", true, true}, {"ref", "nothing", true, false}};
  input.isa_present = {"AVX2", "FMA"};
  input.isa_absent = {"AMX-INT8"};
  input.mpirun_version = "mpirun (Open MPI) 4.1.4";
  input.shm_bytes = 64 * kGib;
  return input;
}

Finding Find(const DoctorInput& input, const std::string& topic) {
  for (const Finding& finding : Diagnose(input).findings) {
    if (finding.topic == topic) return finding;
  }
  ADD_FAILURE() << "no finding about " << topic;
  return {};
}

void ExpectFinding(const DoctorInput& input, const std::string& topic, Level level, const std::string& found,
                   const std::string& advice) {
  const Finding finding = Find(input, topic);
  EXPECT_EQ(finding.level, level) << topic << ": " << finding.found;
  EXPECT_THAT(finding.found, HasSubstr(found)) << topic;
  EXPECT_THAT(finding.advice, HasSubstr(advice)) << topic;
}

TEST(Doctor, WellSetUpServerHasNothingToMend) {
  const CapturedTree tree("24-node-epyc-9655");
  const Diagnosis diagnosis = Diagnose(Healthy(tree));
  EXPECT_THAT(diagnosis.findings, Each(Field(&Finding::level, Level::kOk)));
  EXPECT_THAT(diagnosis.findings, Each(Field(&Finding::advice, IsEmpty())));
  EXPECT_EQ(diagnosis.cpu_model, "AMD EPYC 9655 96-Core Processor");
  EXPECT_EQ(diagnosis.ranks, 24u);
  EXPECT_EQ(diagnosis.threads_min, 8u);
  EXPECT_EQ(diagnosis.threads_max, 8u);
}

TEST(Doctor, EveryWarningAndErrorSaysWhatToDo) {
  const CapturedTree tree("8-node-epyc-7763-nps4");
  tree.Write("proc/self/status", "Cpus_allowed_list:\t0-47\nMems_allowed_list:\t0-1\n");
  tree.Write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
  tree.Write("sys/fs/cgroup/user.slice/memory.max", "1073741824\n");
  tree.Write("sys/fs/cgroup/user.slice/cpu.max", "100000 100000\n");
  DoctorInput input = Healthy(tree);
  input.kernel_error = "ONECOPY_KERNELS names no table";
  input.mpirun_version = "";
  input.shm_bytes = 0;
  input.placement_error = "mbind: Operation not permitted";
  size_t to_mend = 0;
  for (const Finding& finding : Diagnose(input).findings) {
    EXPECT_EQ(finding.level == Level::kOk, finding.advice.empty()) << finding.topic;
    to_mend += finding.level != Level::kOk;
  }
  EXPECT_EQ(to_mend, 9u);
}

TEST(Doctor, TransparentHugePagesNever) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
  ExpectFinding(Healthy(tree), "transparent_huge_pages", Level::kWarn, "never",
                "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
}

TEST(Doctor, HugetlbPoolIsMemoryThatWeightsCannotHave) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  tree.Write("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "100\n");
  tree.Write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
  ExpectFinding(Healthy(tree), "hugetlb_pool", Level::kWarn, "108 GB", "vm.nr_hugepages=0");
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

TEST(Doctor, PowersaveIsSlowOnlyWhereTheKernelChoosesTheFrequency) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  ExpectFinding(Healthy(tree), "governor", Level::kOk, "powersave on 2 CPUs, driver intel_pstate", "");
  for (int cpu = 0; cpu < 2; ++cpu) {
    tree.Write("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cpufreq/scaling_driver",
               "acpi-cpufreq\n");
  }
  ExpectFinding(Healthy(tree), "governor", Level::kWarn, "powersave on 2 CPUs", "cpupower frequency-set");
}

TEST(Doctor, CpusetIsShownWithWhatItLeaves) {
  const CapturedTree tree("8-node-epyc-7763-nps4");
  tree.Write("proc/self/status", "Cpus_allowed_list:\t0-15\nMems_allowed_list:\t0-7\n");
  ExpectFinding(Healthy(tree), "allowed_cpus", Level::kWarn, "16 of 256 CPUs: 0-15", "cpuset.cpus");
}

TEST(Doctor, NodesThatCannotHoldARankAreNamed) {
  const CapturedTree hbm("8-node-knl-snc4-hbm"), forbidden("2-node-xeon-6338-interleaved"),
      no_memory("2-node-xeon-6338-interleaved"), apart("11-node-cpus-apart-from-memory");
  ExpectFinding(Healthy(hbm), "nodes", Level::kOk, "node 4-7 has memory but no usable CPU", "");
  forbidden.Write("proc/self/status", "Cpus_allowed_list:\t0-127\nMems_allowed_list:\t0\n");
  ExpectFinding(Healthy(forbidden), "nodes", Level::kWarn, "memory of node 1 is not allowed", "cpuset.mems");
  no_memory.Write("sys/devices/system/node/node1/meminfo", "Node 1 MemTotal: 0 kB\nNode 1 MemFree: 0 kB\n");
  ExpectFinding(Healthy(no_memory), "nodes", Level::kWarn, "node 1 has CPUs but no memory", "NPS");
  ExpectFinding(Healthy(apart), "nodes", Level::kError, "no node has both", "cpuset.mems");
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

TEST(Doctor, MpirunMustBeThereAndOpenMpi) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  input.mpirun_version = "HYDRA build details:";
  ExpectFinding(input, "mpi", Level::kWarn, "HYDRA", "openmpi-bin");
  input.mpirun_version = "";
  ExpectFinding(input, "mpi", Level::kError, "not found", "launch/setup");
}

TEST(Doctor, ReferenceKernelsAreAWarning) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  input.kernels = {{"avx2", "AVX2, FMA, F16C", false, false}, {"ref", "nothing", true, true}};
  ExpectFinding(input, "kernels", Level::kWarn, "slow", "AVX2");
  EXPECT_THAT(DoctorText(input, Diagnose(input)),
              HasSubstr("avx2 (this CPU lacks AVX2, FMA, F16C), ref (chosen)"));
}

TEST(Doctor, MemlockLimitIsShown) {
  const CapturedTree tree("1-node-vm-growing-memory"), unlimited("2-node-xeon-6338-interleaved");
  ExpectFinding(Healthy(tree), "memlock", Level::kOk, "8.39 MB", "");
  ExpectFinding(Healthy(unlimited), "memlock", Level::kOk, "unlimited", "");
}

TEST(Doctor, EmptyRootIsAnsweredWithoutAnError) {
  const CapturedTree full("1-node-vm-growing-memory"), empty;
  DoctorInput input = Healthy(full);
  input.root = empty.root();
  EXPECT_THAT(Diagnose(input).findings, Each(Field(&Finding::level, Not(Level::kError))));
  EXPECT_EQ(Diagnose(input).cpu_model, "unknown");
}

TEST(Doctor, TextShowsEveryNodeAndFinding) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  const DoctorInput input = Healthy(tree);
  tree.Write("proc/sys/kernel/numa_balancing", "1\n");
  const Diagnosis diagnosis = Diagnose(input);
  const std::string text = DoctorText(input, diagnosis);
  EXPECT_THAT(text, HasSubstr("Intel(R) Xeon(R) Gold 6338"));
  EXPECT_THAT(text, HasSubstr("2, one a node, with 32 threads each"));
  EXPECT_THAT(text, HasSubstr("20 10"));
  EXPECT_THAT(text, HasSubstr("-> sudo sysctl kernel.numa_balancing=0"));
  for (const Finding& finding : diagnosis.findings) EXPECT_THAT(text, HasSubstr(finding.topic));
}

TEST(Doctor, JsonHasStableKeys) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  const DoctorInput input = Healthy(tree);
  const auto json = nlohmann::json::parse(DoctorJson(input, Diagnose(input)));
  EXPECT_EQ(json["ranks"], 2);
  EXPECT_EQ(json["threads_per_rank"]["min"], 32);
  EXPECT_EQ(json["isa"]["AVX2"], true);
  EXPECT_EQ(json["isa"]["AMX-INT8"], false);
  EXPECT_EQ(json["kernels"][0]["name"], "avx2");
  EXPECT_EQ(json["kernels"][0]["chosen"], true);
  ASSERT_EQ(json["nodes"].size(), 2u);
  EXPECT_EQ(json["nodes"][1]["node"], 1);
  EXPECT_EQ(json["nodes"][1]["cores"], 32);
  EXPECT_EQ(json["nodes"][1]["memory_bytes"], (256 * kGib - kGib / 2));
  EXPECT_EQ(json["nodes"][1]["distances"], nlohmann::json({20, 10}));
  std::set<std::string> topics;
  for (const auto& finding : json["findings"]) {
    EXPECT_EQ(finding.size(), 4u);
    EXPECT_EQ(finding["level"], "ok");
    topics.insert(finding["topic"]);
  }
  EXPECT_EQ(topics,
            (std::set<std::string>{"kernels", "nodes", "node_memory", "allowed_cpus", "placement",
                                   "transparent_huge_pages", "hugetlb_pool", "numa_balancing", "governor",
                                   "cgroup_memory", "cgroup_cpus", "memlock", "shared_memory", "mpi"}));
}

}  // namespace
}  // namespace onecopy::report
