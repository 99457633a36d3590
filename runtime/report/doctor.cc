// The checks of doctor, one function each, in the table kChecks. A file that is absent is never an error: containers
// and virtual machines hide many of them.
#include "runtime/report/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>

#include "runtime/base/sizes.h"
#include "runtime/numa/cgroup.h"
#include "runtime/numa/places.h"
#include "runtime/numa/sysfs.h"

namespace onecopy::report {
namespace {

using numa::FormatIdList;
using numa::Node;
using numa::ReadNumber;
using numa::ReadText;

constexpr char kThp[] = "/sys/kernel/mm/transparent_hugepage/enabled";

Finding Ok(std::string found) {
  return {Level::kOk, "", std::move(found), ""};
}
Finding Warn(std::string found, std::string advice) {
  return {Level::kWarn, "", std::move(found), std::move(advice)};
}
Finding Bad(std::string found, std::string advice) {
  return {Level::kError, "", std::move(found), std::move(advice)};
}

size_t NumCores(const numa::Place& place) {
  return numa::CpuIds(place.cpus, /*smt=*/false).size();
}

size_t TotalCores(const DoctorInput& input) {
  size_t cores = 0;
  for (const numa::Place& place : numa::FindPlaces(input.topology)) cores += NumCores(place);
  return cores;
}

Finding CheckKernels(const DoctorInput& input) {
  if (!input.kernel_error.empty()) return Bad(input.kernel_error, "unset ONECOPY_KERNELS");
  for (const KernelChoice& kernel : input.kernels) {
    if (!kernel.chosen) continue;
    if (kernel.name != "ref") return Ok(kernel.name + " (needs " + kernel.requires_isa + ")");
    return Warn("ref: right on any CPU, and slow",
                "use a CPU with AVX2, FMA and F16C, or pass them through to the "
                "virtual machine (qemu: -cpu host); unset ONECOPY_KERNELS where it says ref");
  }
  return Bad("none chosen", "report this as a bug in onecopy");
}

Finding CheckNodes(const DoctorInput& input) {
  const auto places = numa::FindPlaces(input.topology);
  std::vector<int> usable, no_memory, no_cpus, forbidden;
  for (const numa::Place& place : places) usable.push_back(place.id);
  for (const Node& node : input.topology.nodes) {
    if (node.cpus.empty() && node.memory_bytes > 0) no_cpus.push_back(node.id);
    if (!node.cpus.empty() && node.memory_bytes == 0) no_memory.push_back(node.id);
    if (!node.cpus.empty() && node.memory_bytes > 0 && !node.memory_allowed) forbidden.push_back(node.id);
  }
  if (usable.empty()) {
    return Bad("no node has both CPUs and memory that this process may use",
               "give the container or job memory of the nodes whose CPUs it has (cpuset.cpus, cpuset.mems)");
  }
  std::string found = input.topology.sysfs_numa
                          ? "a rank on each of node " + FormatIdList(usable)
                          : "the kernel shows no NUMA nodes; all CPUs and memory are node 0";
  if (!no_cpus.empty())
    found += "; node " + FormatIdList(no_cpus) + " has memory but no usable CPU and holds no weights";
  if (!no_memory.empty()) {
    return Warn(found + "; node " + FormatIdList(no_memory) + " has CPUs but no memory, they stay idle",
                "fit memory to every channel, or choose fewer nodes per socket (NPS, SNC) in the firmware");
  }
  if (!forbidden.empty()) {
    return Warn(found + "; memory of node " + FormatIdList(forbidden) + " is not allowed, its CPUs stay idle",
                "add the node to cpuset.mems of the container or job, or start without numactl --membind");
  }
  return Ok(found);
}

Finding CheckNodeMemory(const DoctorInput& input) {
  std::vector<const Node*> nodes;
  for (const numa::Place& place : numa::FindPlaces(input.topology))
    nodes.push_back(input.topology.Find(place.id));
  if (nodes.size() < 2) return Ok("one node");
  const auto less = [](const Node* a, const Node* b) { return a->memory_bytes < b->memory_bytes; };
  const auto [least, most] = std::minmax_element(nodes.begin(), nodes.end(), less);
  const std::string found = fmt::format("{} on node {} to {} on node {}", FormatBytes((*least)->memory_bytes),
                                        (*least)->id, FormatBytes((*most)->memory_bytes), (*most)->id);
  // Firmware takes a few GiB of the first node; half is a missing module.
  if (static_cast<double>((*least)->memory_bytes) > 0.7 * static_cast<double>((*most)->memory_bytes))
    return Ok(found);
  return Warn(found + ": every rank can hold only what the smallest node does",
              "check that every memory channel has a module (sudo dmidecode -t memory)");
}

Finding CheckAllowedCpus(const DoctorInput& input) {
  std::vector<int> usable;
  for (const Node& node : input.topology.nodes) {
    for (const numa::Cpu& cpu : node.cpus) usable.push_back(cpu.id);
  }
  std::sort(usable.begin(), usable.end());
  const auto online_text = ReadText(input.root, "sys/devices/system/cpu/online");
  const auto online = online_text ? numa::ParseIdList(*online_text, "cpu/online") : usable;
  if (usable.size() == online.size())
    return Ok(fmt::format("all {} CPUs: {}", online.size(), FormatIdList(usable)));
  return Warn(
      fmt::format("{} of {} CPUs: {}", usable.size(), online.size(), FormatIdList(usable)),
      "widen the CPU set of the container or job (taskset, cpuset.cpus, docker --cpuset-cpus) where it is "
      "not meant");
}

// "always [madvise] never" -> "madvise"
std::string Selected(const std::string& text) {
  const size_t open = text.find('['), close = text.find(']');
  return open == std::string::npos || close == std::string::npos ? text
                                                                 : text.substr(open + 1, close - open - 1);
}

Finding CheckTransparentHugePages(const DoctorInput& input) {
  const auto text = ReadText(input.root, kThp + 1);
  const std::string advice = fmt::format("echo madvise | sudo tee {}", kThp);
  if (!text)
    return Warn("not shown by this kernel; weights lie in 4 KiB pages",
                "use a kernel with "
                "CONFIG_TRANSPARENT_HUGEPAGE");
  const std::string mode = Selected(*text);
  if (mode == "never") return Warn("never: weights lie in 4 KiB pages, which costs decode speed", advice);
  return Ok(mode);
}

Finding CheckHugetlbPool(const DoctorInput& input) {
  uint64_t pool_bytes = 0;
  for (const uint64_t kilobytes : {uint64_t{2048}, uint64_t{1048576}}) {
    const auto pages =
        ReadNumber(input.root, fmt::format("sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages", kilobytes));
    pool_bytes += pages.value_or(0) * kilobytes * 1024;
  }
  if (pool_bytes == 0) return Ok("empty");
  return Warn(FormatBytes(pool_bytes) +
                  " reserved for programs that ask for hugetlb pages; onecopy uses transparent "
                  "ones and cannot have this memory",
              "sudo sysctl vm.nr_hugepages=0 where no other program needs them");
}

Finding CheckNumaBalancing(const DoctorInput& input) {
  const auto mode = ReadNumber(input.root, "proc/sys/kernel/numa_balancing");
  if (mode.value_or(0) == 0) return Ok(mode ? "off" : "not in this kernel");
  if (numa::FindPlaces(input.topology).size() < 2) return Ok("on, with nothing to do on one node");
  // Bound weights are left alone; what remains is the fault that samples every access to shared windows and code.
  return Warn("on: the kernel samples memory accesses by page faults and moves unbound pages",
              "sudo sysctl kernel.numa_balancing=0");
}

Finding CheckPlacement(const DoctorInput& input) {
  if (!input.placement_error.empty()) {
    return Bad(input.placement_error, "allow these system calls, or start with --bind none");
  }
  if (input.topology.nodes.size() < 2) return Ok("one node: all memory lies there");
  return Ok("memory can be bound to a node, and the kernel says where it lies");
}

Finding CheckGovernor(const DoctorInput& input) {
  std::map<std::string, size_t> cpus_by_governor;
  std::string driver;
  for (const numa::Place& place : numa::FindPlaces(input.topology)) {
    for (const numa::Cpu& cpu : place.cpus) {
      const std::string folder = fmt::format("sys/devices/system/cpu/cpu{}/cpufreq/", cpu.id);
      if (const auto governor = ReadText(input.root, folder + "scaling_governor"))
        ++cpus_by_governor[*governor];
      if (driver.empty()) driver = ReadText(input.root, folder + "scaling_driver").value_or("");
    }
  }
  if (cpus_by_governor.empty()) return Ok("not shown (usual in virtual machines)");
  std::string found;
  for (const auto& [governor, cpus] : cpus_by_governor) {
    found += fmt::format("{}{} on {} CPUs", found.empty() ? "" : ", ", governor, cpus);
  }
  // With these drivers "powersave" is the ordinary governor: the hardware chooses the frequency.
  const bool hardware_chooses = driver == "intel_pstate" || driver == "amd-pstate-epp";
  const bool slow = cpus_by_governor.count("powersave") != 0 && !hardware_chooses;
  if (!slow && cpus_by_governor.count("conservative") == 0) return Ok(found + ", driver " + driver);
  return Warn(found + ", driver " + driver, "sudo cpupower frequency-set -g performance");
}

Finding CheckCgroupMemory(const DoctorInput& input) {
  const uint64_t limit = input.topology.cgroup_limit_bytes;
  if (limit == UINT64_MAX) return Ok("no limit");
  uint64_t total = 0;
  for (const numa::Place& place : numa::FindPlaces(input.topology))
    total += input.topology.Find(place.id)->memory_bytes;
  const std::string found = fmt::format("{} of {}", FormatBytes(limit), FormatBytes(total));
  if (limit >= total) return Ok(found);
  return Warn(found + " for all ranks of this host together; the kernel kills a rank that goes over it",
              "raise the memory limit of the container or job (docker --memory, Kubernetes limits.memory, "
              "Slurm --mem) where the model does not fit");
}

Finding CheckCgroupCpus(const DoctorInput& input) {
  const double cpus = numa::ReadCgroupLimits(input.root).cpus;
  if (!std::isfinite(cpus)) return Ok("no limit");
  const std::string found = fmt::format("{:.1f} CPUs of time for {} cores", cpus, TotalCores(input));
  if (cpus >= static_cast<double>(TotalCores(input))) return Ok(found);
  return Warn(
      found + ": ranks are stopped in turns and wait for each other",
      "lift the quota (docker --cpus, Kubernetes limits.cpu) and limit by CPU set instead, or start with "
      "fewer --threads");
}

Finding CheckMemlock(const DoctorInput& input) {
  // "Max locked memory         8388608              8388608              bytes"
  std::istringstream limits(ReadText(input.root, "proc/self/limits").value_or(""));
  for (std::string line; std::getline(limits, line);) {
    if (line.rfind("Max locked memory", 0) != 0) continue;
    std::istringstream words(line.substr(17));
    std::string soft;
    words >> soft;
    const bool number = !soft.empty() && soft.find_first_not_of("0123456789") == std::string::npos;
    const std::string found = number ? FormatBytes(std::stoull(soft)) : soft;
    return Ok(found +
              (number ? "; enough, onecopy locks nothing (InfiniBand between hosts wants unlimited)" : ""));
  }
  return Ok("not shown");
}

Finding CheckSharedMemory(const DoctorInput& input) {
  // The loader's staging blocks, 64 MiB a host (shard/loader.h), and for each rank the windows of the collectives
  // (two of 1 MiB, comm/communicator.h) and Open MPI's own segment (4 MiB).
  constexpr uint64_t kBytesPerHost = uint64_t{64} << 20;
  constexpr uint64_t kBytesPerRank = uint64_t{8} << 20;
  const size_t ranks = std::max<size_t>(1, numa::FindPlaces(input.topology).size());
  const char* advice =
      "sudo mount -o remount,size=4G /dev/shm; in containers docker run --shm-size 4g, in Kubernetes "
      "an emptyDir with medium Memory at /dev/shm";
  if (!input.shm_bytes) {
    return ranks < 2 ? Ok("/dev/shm is absent, and one rank needs none") : Bad("/dev/shm is absent", advice);
  }
  const std::string available = FormatBytes(*input.shm_bytes) + " free in /dev/shm";
  if (ranks < 2) return Ok(available + ", and one rank needs none");
  const uint64_t needed = kBytesPerHost + ranks * kBytesPerRank;
  const std::string found = fmt::format("{}; {} ranks use up to {}", available, ranks, FormatBytes(needed));
  return *input.shm_bytes >= needed ? Ok(found) : Bad(found, advice);
}

Finding CheckMpi(const DoctorInput& input) {
  if (input.mpirun_version.empty())
    return Bad("mpirun is not found: only one rank can run",
               "launch/setup, or put Open MPI's bin "
               "folder into PATH");
  if (input.mpirun_version.find("Open MPI") == std::string::npos &&
      input.mpirun_version.find("OpenRTE") == std::string::npos) {
    return Warn(input.mpirun_version + ": launch/onecopy knows Open MPI's options only",
                "sudo update-alternatives --config mpirun, or install openmpi-bin");
  }
  return Ok(input.mpirun_version);
}

struct Check {
  const char* topic;
  Finding (*run)(const DoctorInput&);
};

constexpr Check kChecks[] = {
    {"kernels", CheckKernels},
    {"nodes", CheckNodes},
    {"node_memory", CheckNodeMemory},
    {"allowed_cpus", CheckAllowedCpus},
    {"placement", CheckPlacement},
    {"transparent_huge_pages", CheckTransparentHugePages},
    {"hugetlb_pool", CheckHugetlbPool},
    {"numa_balancing", CheckNumaBalancing},
    {"governor", CheckGovernor},
    {"cgroup_memory", CheckCgroupMemory},
    {"cgroup_cpus", CheckCgroupCpus},
    {"memlock", CheckMemlock},
    {"shared_memory", CheckSharedMemory},
    {"mpi", CheckMpi},
};

std::string CpuModel(const std::string& root) {
  const std::string cpuinfo = ReadText(root, "proc/cpuinfo").value_or("");
  const size_t at = cpuinfo.find("model name");
  if (at == std::string::npos) return "unknown";
  const std::string line = cpuinfo.substr(at, cpuinfo.find('\n', at) - at);
  const size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
  return value == std::string::npos ? "unknown" : line.substr(value);
}

}  // namespace

Diagnosis Diagnose(const DoctorInput& input) {
  Diagnosis diagnosis;
  diagnosis.cpu_model = CpuModel(input.root);
  for (const numa::Place& place : numa::FindPlaces(input.topology)) {
    const size_t cores = NumCores(place);
    diagnosis.threads_min = diagnosis.ranks == 0 ? cores : std::min(diagnosis.threads_min, cores);
    diagnosis.threads_max = std::max(diagnosis.threads_max, cores);
    ++diagnosis.ranks;
  }
  for (const Check& check : kChecks) {
    Finding finding = check.run(input);
    finding.topic = check.topic;
    diagnosis.findings.push_back(std::move(finding));
  }
  return diagnosis;
}

}  // namespace onecopy::report
