// Reads the topology from sysfs. Why not hwloc or libnuma: both cache the real machine at start and cannot be
// pointed at a captured tree without it becoming the process's own topology; what is needed here is six small
// files a node. Thread-safe. Sources: Linux Documentation/ABI/stable/sysfs-devices-node,
// Documentation/admin-guide/cputopology.rst.
#include "runtime/numa/topology.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>

#include "runtime/base/error.h"
#include "runtime/numa/cgroup.h"
#include "runtime/numa/sysfs.h"

namespace onecopy::numa {
namespace {

constexpr int kLocalDistance = 10;   // ACPI SLIT: a node to itself
constexpr int kRemoteDistance = 20;  // the kernel's default for any other

std::string HostName(const std::string& root) {
  if (const auto name = ReadText(root, "proc/sys/kernel/hostname")) return *name;
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

std::vector<int> Intersect(const std::vector<int>& a, const std::vector<int>& b) {
  std::vector<int> out;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

// A list of /proc/self/status, or empty where the file or the line is absent: then everything is allowed.
std::optional<std::vector<int>> AllowedList(const std::optional<std::string>& status, const char* key) {
  const auto value = status ? StatusValue(*status, key) : std::nullopt;
  return value ? std::optional(ParseIdList(*value, key)) : std::nullopt;
}

// CPUs that are online and allowed. Cpus_allowed_list may name CPUs that are offline or do not exist.
std::vector<int> UsableCpus(const std::string& root, const std::optional<std::vector<int>>& allowed) {
  const auto online_text = ReadText(root, "sys/devices/system/cpu/online");
  if (!online_text) return allowed.value_or(std::vector<int>());
  const std::vector<int> online = ParseIdList(*online_text, "sys/devices/system/cpu/online");
  return allowed ? Intersect(online, *allowed) : online;
}

Cpu ReadCpu(const std::string& root, int id) {
  const std::string folder = fmt::format("sys/devices/system/cpu/cpu{}/topology/", id);
  Cpu cpu{id, 0, id};
  if (const auto package = ReadNumber(root, folder + "physical_package_id"))
    cpu.package = static_cast<int>(*package);
  // The core is named by its first SMT sibling rather than by core_id, which on packages of several dies
  // repeats.
  if (const auto siblings = ReadText(root, folder + "thread_siblings_list")) {
    const std::vector<int> ids = ParseIdList(*siblings, folder + "thread_siblings_list");
    if (!ids.empty()) cpu.core = ids.front();
  }
  return cpu;
}

std::vector<Cpu> ReadCpus(const std::string& root, const std::vector<int>& ids) {
  std::vector<Cpu> cpus;
  cpus.reserve(ids.size());
  for (int id : ids) cpus.push_back(ReadCpu(root, id));
  return cpus;
}

std::vector<int> OnlineNodes(const std::string& root) {
  const std::string folder = "sys/devices/system/node";
  if (const auto text = ReadText(root, folder + "/online")) return ParseIdList(*text, folder + "/online");
  std::vector<int> ids;
  std::error_code ignored;
  const std::filesystem::path directory = std::filesystem::path(root) / folder;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename();
    const bool is_node = name.rfind("node", 0) == 0 && name.size() > 4 &&
                         name.find_first_not_of("0123456789", 4) == std::string::npos;
    if (is_node) ids.push_back(std::stoi(name.substr(4)));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Free now, and what the page cache gives back without swapping or writing. Shmem counts as page cache in
// FilePages but not in the two file lists, which is why those are summed.
uint64_t FreeBytes(const std::string& meminfo) {
  const uint64_t cache =
      MeminfoBytes(meminfo, "Active(file)").value_or(0) + MeminfoBytes(meminfo, "Inactive(file)").value_or(0);
  const uint64_t dirty =
      MeminfoBytes(meminfo, "Dirty").value_or(0) + MeminfoBytes(meminfo, "Writeback").value_or(0);
  return MeminfoBytes(meminfo, "MemFree").value_or(0) + (cache > dirty ? cache - dirty : 0);
}

Node ReadNode(const std::string& root, int id, const std::vector<int>& usable_cpus) {
  const std::string folder = fmt::format("sys/devices/system/node/node{}/", id);
  Node node;
  node.id = id;
  const std::string cpulist = ReadText(root, folder + "cpulist").value_or("");
  node.cpus = ReadCpus(root, Intersect(ParseIdList(cpulist, folder + "cpulist"), usable_cpus));
  if (const auto meminfo = ReadText(root, folder + "meminfo")) {
    node.memory_bytes = MeminfoBytes(*meminfo, "MemTotal").value_or(0);
    node.free_bytes = FreeBytes(*meminfo);
  }
  constexpr uint64_t kMegabyte = 1000000;  // the unit of the file: MiB/s and MB/s are both found in the wild
  node.stated_read_bandwidth =
      ReadNumber(root, folder + "access0/initiators/read_bandwidth").value_or(0) * kMegabyte;
  std::istringstream distances(ReadText(root, folder + "distance").value_or(""));
  for (int distance; distances >> distance;) node.distances.push_back(distance);
  return node;
}

// All of the memory, as /proc/meminfo has it. Of the host's only memory node this is the better source: a
// balloon or hot-plugged memory is counted here first, and MemAvailable is the kernel's own estimate.
void TakeWholeMemory(const std::string& root, Node* node) {
  const auto meminfo = ReadText(root, "proc/meminfo");
  if (!meminfo) return;
  node->memory_bytes = MeminfoBytes(*meminfo, "MemTotal").value_or(node->memory_bytes);
  node->free_bytes = MeminfoBytes(*meminfo, "MemAvailable").value_or(FreeBytes(*meminfo));
}

void FillMissingDistances(Topology* topology) {
  for (size_t row = 0; row < topology->nodes.size(); ++row) {
    std::vector<int>& distances = topology->nodes[row].distances;
    if (distances.size() == topology->nodes.size()) continue;
    distances.assign(topology->nodes.size(), kRemoteDistance);
    distances[row] = kLocalDistance;
  }
}

}  // namespace

const Node* Topology::Find(int id) const {
  for (const Node& node : nodes)
    if (node.id == id) return &node;
  return nullptr;
}

std::vector<int> CpuIds(const std::vector<Cpu>& cpus, bool smt) {
  std::map<int, int> taken;                   // core -> its CPUs so far
  std::vector<std::pair<int, int>> rank_cpu;  // (which sibling of its core, id)
  for (const Cpu& cpu : cpus) {
    const int sibling = taken[cpu.core]++;
    if (sibling == 0 || smt) rank_cpu.emplace_back(sibling, cpu.id);
  }
  std::sort(rank_cpu.begin(), rank_cpu.end());
  std::vector<int> out;
  out.reserve(rank_cpu.size());
  for (const auto& [sibling, id] : rank_cpu) out.push_back(id);
  return out;
}

Topology ReadTopology(const std::string& root) {
  const auto status = ReadText(root, "proc/self/status");
  const std::vector<int> cpus = UsableCpus(root, AllowedList(status, "Cpus_allowed_list"));
  if (cpus.empty()) {
    Fail(ErrorCode::kInternal,
         "no usable CPU found: neither {0}/sys/devices/system/cpu/online nor {0}/proc/self/status "
         "names one; mount /sys and /proc, and check the allowed CPUs (taskset -p)",
         root == "/" ? "" : root);
  }
  Topology topology;
  topology.host = HostName(root);
  const CgroupLimits limits = ReadCgroupLimits(root);
  topology.cgroup_limit_bytes = limits.memory_bytes;
  topology.cgroup_available_bytes = limits.available_bytes;
  const auto mems = AllowedList(status, "Mems_allowed_list");
  for (int id : OnlineNodes(root)) {
    topology.nodes.push_back(ReadNode(root, id, cpus));
    topology.nodes.back().memory_allowed = !mems || std::binary_search(mems->begin(), mems->end(), id);
  }
  topology.sysfs_numa = !topology.nodes.empty();
  if (!topology.sysfs_numa) {
    topology.nodes.emplace_back();
    topology.nodes[0].cpus = ReadCpus(root, cpus);
  }
  std::vector<Node*> with_memory;
  for (Node& node : topology.nodes) {
    if (node.memory_bytes > 0 || !topology.sysfs_numa) with_memory.push_back(&node);
  }
  if (with_memory.size() == 1) TakeWholeMemory(root, with_memory[0]);
  FillMissingDistances(&topology);
  return topology;
}

}  // namespace onecopy::numa
