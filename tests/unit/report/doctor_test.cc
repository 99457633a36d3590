// Each check of doctor on captured machines, one file of which is changed to what the check is there for.
#include "runtime/report/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/unit/report/doctor_test_support.h"

namespace onecopy::report {
namespace {

using onecopy::testing::CapturedTree;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

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
  EXPECT_EQ(to_mend, 10u);
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

TEST(Doctor, MemoryWithoutCpusSaysWhatItIsFor) {
  const CapturedTree hbm("8-node-knl-snc4-hbm");
  DoctorInput input = Healthy(hbm);
  // Without the firmware's word on speed it counts as slow.
  ExpectFinding(input, "cpuless_memory", Level::kOk, "--memory-nodes all", "");
  for (numa::Node& node : input.topology.nodes) node.stated_read_bandwidth = node.cpus.empty() ? 400e9 : 90e9;
  ExpectFinding(input, "cpuless_memory", Level::kOk, "--memory-nodes fast, the default", "");
  ExpectFinding(Healthy(CapturedTree("2-node-xeon-6338-interleaved")), "cpuless_memory", Level::kOk, "none",
                "");
}

TEST(Doctor, CpusWithoutMemoryAreNamedWithTheRankTheyWorkFor) {
  const CapturedTree forbidden("2-node-xeon-6338-interleaved"), no_memory("2-node-xeon-6338-interleaved"),
      apart("11-node-cpus-apart-from-memory");
  forbidden.Write("proc/self/status", "Cpus_allowed_list:\t0-127\nMems_allowed_list:\t0\n");
  ExpectFinding(Healthy(forbidden), "nodes", Level::kWarn, "node 1 has CPUs but no memory that is allowed",
                "cpuset.mems");
  ExpectFinding(Healthy(forbidden), "allowed_memory", Level::kWarn, "memory of node 0 of nodes 0-1",
                "cpuset.mems");
  no_memory.Write("sys/devices/system/node/node1/meminfo", "Node 1 MemTotal: 0 kB\nNode 1 MemFree: 0 kB\n");
  ExpectFinding(Healthy(no_memory), "nodes", Level::kWarn, "they work for the rank of node 0", "NPS");
  ExpectFinding(Healthy(apart), "nodes", Level::kOk, "they work for the rank of node 5", "");
}

TEST(Doctor, NoMemoryAtAllIsAnError) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  for (numa::Node& node : input.topology.nodes) node.memory_allowed = false;
  ExpectFinding(input, "nodes", Level::kError, "no node has CPUs and memory", "cpuset.mems");
}

TEST(Doctor, NodesOfASocketTellTheFirmwareSetting) {
  const CapturedTree nps4("8-node-epyc-7763-nps4"), l3("24-node-epyc-9655"),
      xeon("2-node-xeon-6338-interleaved");
  ExpectFinding(Healthy(nps4), "firmware", Level::kOk,
                "as with NPS4; 8 memory channels a socket by its model, so 2 a node", "");
  ExpectFinding(Healthy(l3), "firmware", Level::kOk, "L3 as NUMA", "");
  ExpectFinding(Healthy(l3), "firmware", Level::kOk, "--ranks-per socket", "");
  ExpectFinding(Healthy(l3), "firmware", Level::kOk, "12 memory channels a socket by its model, so 1 a node",
                "");
  ExpectFinding(Healthy(xeon), "firmware", Level::kOk, "sub-NUMA clustering off", "");
  for (const CapturedTree* tree : {&nps4, &l3, &xeon})
    ExpectFinding(Healthy(*tree), "firmware", Level::kOk, "onecopy needs no change of it", "");
}

TEST(Doctor, CachesTellL3AsNumaFromNps4) {
  const CapturedTree tree("8-node-epyc-7763-nps4");
  const DoctorInput input = Healthy(tree);
  for (const numa::Node& node : input.topology.nodes)
    for (const numa::Cpu& cpu : node.cpus)
      tree.Write("sys/devices/system/cpu/cpu" + std::to_string(cpu.id) + "/cache/index3/shared_cpu_list",
                 "of node " + std::to_string(node.id) + "\n");
  ExpectFinding(input, "firmware", Level::kOk, "L3 as NUMA", "");
}

TEST(Doctor, ClusteredXeonIsSnc) {
  const CapturedTree tree("4-node-xeon-96-cores");
  DoctorInput input = Healthy(tree);
  tree.Write("proc/cpuinfo", "model name\t: Intel(R) Xeon(R) Platinum 8592+\n");
  for (numa::Node& node : input.topology.nodes)
    for (numa::Cpu& cpu : node.cpus) cpu.package = node.id / 2;
  ExpectFinding(input, "firmware", Level::kOk,
                "as with SNC2; 8 memory channels a socket by its model, so 4 a node", "");
}

TEST(Doctor, SmtIsShownWithWhatIsUsed) {
  const CapturedTree smt("24-node-epyc-9655"), one("1-node-vm-growing-memory");
  ExpectFinding(
      Healthy(smt), "smt", Level::kOk,
      "384 CPUs on 192 cores; a rank runs one thread a core, and the HTTP threads of `serve` run on siblings",
      "");
  one.Write("sys/devices/system/cpu/smt/active", "0\n");
  ExpectFinding(Healthy(one), "smt", Level::kOk, "off", "");
}

TEST(Doctor, SlurmJobIsShownAndAStepWithFewerCpusNamed) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  ExpectFinding(input, "slurm", Level::kOk, "not in a Slurm job", "");
  input.environment = {
      {"SLURM_JOB_ID", "12"}, {"SLURM_CPUS_ON_NODE", "128"}, {"SLURM_MEM_PER_NODE", "65536"}};
  ExpectFinding(input, "slurm", Level::kOk, "job 12, 128 CPUs on this host, 68.7 GB of memory a host", "");
  tree.Write("proc/self/status", "Cpus_allowed_list:\t0-3\nMems_allowed_list:\t0-1\n");
  input.topology = numa::ReadTopology(tree.root());
  ExpectFinding(input, "slurm", Level::kWarn, "this process may use 4 CPUs of them", "--cpus-per-task");
}

TEST(Doctor, MissingTransportIsNamed) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  ExpectFinding(input, "mpi_transports", Level::kOk, "btl self and vader", "");
  input.mpi_components = {"pml ob1", "btl self", "btl sm"};  // Open MPI 5
  ExpectFinding(input, "mpi_transports", Level::kOk, "btl self and sm", "");
  input.mpi_components = {"pml ucx", "btl self"};
  ExpectFinding(input, "mpi_transports", Level::kWarn, "pml ob1 and btl vader or sm missing", "--mca");
  input.mpi_components.clear();
  ExpectFinding(input, "mpi_transports", Level::kOk, "not shown", "");
}

// Two nodes, the second at `share` of the first's rate.
NodeBandwidths TwoNodes(double share) {
  NodeBandwidths measured;
  measured.at_once = {{0, 0, 100e9, ""}, {1, 1, share * 100e9, ""}};
  measured.sum = (1 + share) * 100e9;
  measured.pairs = {{0, 0, 110e9, ""}, {1, 1, share * 110e9, ""}, {0, 1, 55e9, ""}, {1, 0, 0, "no time"}};
  return measured;
}

TEST(Doctor, SlowNodeIsNamed) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  ExpectFinding(input, "bandwidth", Level::kOk, "not measured", "");
  input.bandwidths = TwoNodes(0.95);
  ExpectFinding(input, "bandwidth", Level::kOk, "195.0 GB/s with all nodes", "");
  ExpectFinding(input, "bandwidth", Level::kOk, "read at 50 to 50 %", "");
  input.bandwidths = TwoNodes(0.5);
  ExpectFinding(input, "bandwidth", Level::kWarn, "all ranks wait for node 1", "--balance bandwidth");
  input.bandwidths = TwoNodes(0);
  for (PairBandwidth& pair : input.bandwidths.at_once) pair = {pair.cpu_node, pair.memory_node, 0, "refused"};
  ExpectFinding(input, "bandwidth", Level::kOk, "could not be measured: refused", "");
}

TEST(Doctor, TextAndJsonShowWhatWasMeasuredAndWhatWasNot) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  input.bandwidths = TwoNodes(0.9);
  const std::string text = DoctorText(input, Diagnose(input));
  EXPECT_THAT(text, HasSubstr("90.0 GB/s"));
  EXPECT_THAT(text, HasSubstr("cores of node 0 reading node 1: 55.0 GB/s"));
  EXPECT_THAT(text, HasSubstr("cores of node 1 reading node 0: no time"));
  const auto json = nlohmann::json::parse(DoctorJson(input, Diagnose(input)))["bandwidth"];
  EXPECT_EQ(json["pairs"][2]["bytes_per_second"], 55e9);
  EXPECT_EQ(json["pairs"][3]["why_not"], "no time");
  EXPECT_EQ(json["sum"], 190e9);
}

TEST(Doctor, MpirunMustBeThereAndOpenMpi) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  input.mpirun_version = "HYDRA build details:";
  ExpectFinding(input, "mpi", Level::kWarn, "HYDRA", "openmpi-bin");
  input.mpirun_version = "";
  ExpectFinding(input, "mpi", Level::kError, "not found", "install openmpi-bin");
}

TEST(Doctor, ReferenceKernelsAreAWarning) {
  const CapturedTree tree("2-node-xeon-6338-interleaved");
  DoctorInput input = Healthy(tree);
  input.kernels = {{"avx2", "AVX2, FMA, F16C", false, false}, {"ref", "nothing", true, true}};
  ExpectFinding(input, "kernels", Level::kWarn, "slow", "AVX2");
  EXPECT_THAT(DoctorText(input, Diagnose(input)),
              HasSubstr("avx2 (this CPU lacks AVX2, FMA, F16C), ref (chosen)"));
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
  EXPECT_EQ(topics, (std::set<std::string>{"kernels",
                                           "nodes",
                                           "cpuless_memory",
                                           "node_memory",
                                           "bandwidth",
                                           "allowed_cpus",
                                           "allowed_memory",
                                           "smt",
                                           "firmware",
                                           "placement",
                                           "transparent_huge_pages",
                                           "hugetlb_pool",
                                           "numa_balancing",
                                           "zone_reclaim",
                                           "swap",
                                           "governor",
                                           "cgroup_memory",
                                           "cgroup_cpus",
                                           "memlock",
                                           "shared_memory",
                                           "slurm",
                                           "mpi",
                                           "mpi_transports"}));
}

}  // namespace
}  // namespace onecopy::report
