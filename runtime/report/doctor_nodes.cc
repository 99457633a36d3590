#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "runtime/base/sizes.h"
#include "runtime/numa/sysfs.h"
#include "runtime/report/doctor_checks.h"

namespace onecopy::report {
namespace {

using numa::FormatIdList;
using numa::Node;
using numa::Place;

Finding CheckNodes(const CheckInput& input) {
  if (input.places.empty())
    return Bad("no node has CPUs and memory that this process may use",
               "give the container or job memory of the nodes whose CPUs it has (cpuset.cpus, cpuset.mems)");
  std::vector<int> ranks;
  std::string joined;
  bool lacks_memory = false, forbidden = false;
  for (const Place& place : input.places) {
    ranks.push_back(place.id);
    for (const int donor : place.cpu_donors) {
      const Node& node = *input.topology().Find(donor);
      // Where CPUs and memory are apart altogether, the machine is meant so.
      const bool apart =
          place.cpus.size() == node.cpus.size() || input.topology().Find(place.id)->cpus.empty();
      const bool has_memory = node.memory_bytes > 0;
      if (!apart) (has_memory ? forbidden : lacks_memory) = true;
      joined += fmt::format("; node {} has CPUs but no memory{}: they work for the rank of node {}", donor,
                            has_memory ? " that is allowed" : "", place.id);
    }
  }
  std::string found = input.topology().sysfs_numa
                          ? "a rank on each of node " + FormatIdList(ranks)
                          : "the kernel shows no NUMA nodes; all CPUs and memory are node 0";
  found += joined;
  if (forbidden)
    return Warn(found,
                "add the node to cpuset.mems of the container or job, or start without numactl --membind");
  if (lacks_memory)
    return Warn(found,
                "fit memory to every channel, or choose fewer nodes per socket (NPS, SNC) in the firmware");
  return Ok(found);
}

Finding CheckCpulessMemory(const CheckInput& input) {
  std::vector<std::string> parts;
  for (const Place& place : input.places) {
    if (!place.fast_memory.empty())
      parts.push_back(
          fmt::format("node {}: faster memory without CPUs, nearest to node {}; used first "
                      "(--memory-nodes fast, the default)",
                      FormatIdList(place.fast_memory), place.id));
    if (!place.slow_memory.empty())
      parts.push_back(
          fmt::format("node {}: memory without usable CPUs, nearest to node {}; used only with "
                      "--memory-nodes all, for what fits nowhere else",
                      FormatIdList(place.slow_memory), place.id));
  }
  return Ok(parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, "; ")));
}

Finding CheckNodeMemory(const CheckInput& input) {
  std::vector<const Node*> nodes;
  for (const Place& place : input.places) nodes.push_back(input.topology().Find(place.id));
  if (nodes.size() < 2) return Ok("one node");
  const auto less = [](const Node* a, const Node* b) { return a->memory_bytes < b->memory_bytes; };
  const auto [least, most] = std::minmax_element(nodes.begin(), nodes.end(), less);
  const std::string found = fmt::format("{} on node {} to {} on node {}", FormatBytes((*least)->memory_bytes),
                                        (*least)->id, FormatBytes((*most)->memory_bytes), (*most)->id);
  // Firmware takes a few GiB of the first node; half is a missing module.
  if (static_cast<double>((*least)->memory_bytes) > 0.7 * static_cast<double>((*most)->memory_bytes))
    return Ok(found);
  return Warn(
      found + ": with even parts every rank can hold only what the smallest node does",
      "check that every memory channel has a module (sudo dmidecode -t memory); or start with --balance "
      "memory");
}

std::string Rate(double bytes_per_second) {
  return fmt::format("{:.1f} GB/s", bytes_per_second / 1e9);
}

// "from other nodes": own and others' memory, as far as both were measured.
std::string RemoteText(const NodeBandwidths& measured) {
  double least = 0, most = 0;
  for (const PairBandwidth& pair : measured.pairs) {
    const PairBandwidth* own = measured.Find(pair.cpu_node, pair.cpu_node);
    if (pair.cpu_node == pair.memory_node || pair.bytes_per_second <= 0 || !own || own->bytes_per_second <= 0)
      continue;
    const double share = pair.bytes_per_second / own->bytes_per_second;
    least = most == 0 ? share : std::min(least, share);
    most = std::max(most, share);
  }
  if (most == 0) return "";
  return fmt::format("; memory of another node is read at {:.0f} to {:.0f} % of the own node's rate",
                     100 * least, 100 * most);
}

Finding CheckBandwidth(const CheckInput& input) {
  const NodeBandwidths& measured = input.given.bandwidths;
  if (measured.empty()) return Ok("not measured");
  std::vector<PairBandwidth> own;
  for (const PairBandwidth& pair : measured.at_once)
    if (pair.bytes_per_second > 0) own.push_back(pair);
  if (own.empty()) return Ok("could not be measured: " + measured.at_once.front().why_not);
  const auto less = [](const PairBandwidth& a, const PairBandwidth& b) {
    return a.bytes_per_second < b.bytes_per_second;
  };
  std::sort(own.begin(), own.end(), less);
  std::string found = Rate(measured.sum) + " with all nodes reading at once";
  if (own.size() > 1)
    found += fmt::format(", {} of node {} to {} of node {}", Rate(own.front().bytes_per_second),
                         own.front().cpu_node, Rate(own.back().bytes_per_second), own.back().cpu_node);
  found += RemoteText(measured);
  const double median = own[own.size() / 2].bytes_per_second;
  if (own.front().bytes_per_second > 0.7 * median) return Ok(found);
  return Warn(
      found + fmt::format(": with even parts all ranks wait for node {}", own.front().cpu_node),
      "check its memory modules (sudo dmidecode -t memory) and what else runs there; or start with --balance "
      "bandwidth");
}

Finding CheckAllowedCpus(const CheckInput& input) {
  std::vector<int> usable;
  for (const Node& node : input.topology().nodes)
    for (const numa::Cpu& cpu : node.cpus) usable.push_back(cpu.id);
  std::sort(usable.begin(), usable.end());
  const auto online_text = numa::ReadText(input.root(), "sys/devices/system/cpu/online");
  const auto online = online_text ? numa::ParseIdList(*online_text, "cpu/online") : usable;
  if (usable.size() == online.size())
    return Ok(fmt::format("all {} CPUs: {}", online.size(), FormatIdList(usable)));
  return Warn(
      fmt::format("{} of {} CPUs: {}", usable.size(), online.size(), FormatIdList(usable)),
      "widen the CPU set of the container or job (taskset, cpuset.cpus, docker --cpuset-cpus) where it is "
      "not meant");
}

Finding CheckAllowedMemory(const CheckInput& input) {
  std::vector<int> all, allowed;
  for (const Node& node : input.topology().nodes) {
    if (node.memory_bytes == 0) continue;
    all.push_back(node.id);
    if (node.memory_allowed) allowed.push_back(node.id);
  }
  if (all.size() == allowed.size()) return Ok("memory of all nodes: " + FormatIdList(all));
  return Warn(
      fmt::format("memory of node {} of nodes {}", allowed.empty() ? "none" : FormatIdList(allowed),
                  FormatIdList(all)),
      "widen cpuset.mems of the container or job (docker --cpuset-mems), or start without numactl --membind, "
      "where it is not meant");
}

Finding CheckSmt(const CheckInput& input) {
  size_t cpus = 0;
  for (const Place& place : input.places) cpus += place.cpus.size();
  const size_t cores = input.TotalCores();
  const auto active = numa::ReadNumber(input.root(), "sys/devices/system/cpu/smt/active");
  if (cpus > cores)
    return Ok(
        fmt::format("on: {} CPUs on {} cores; a rank runs one thread a core, and the HTTP threads of "
                    "`serve` run on siblings",
                    cpus, cores));
  constexpr const char* kHttp =
      "; the HTTP threads of `serve` share rank 0's cores, unless --threads leaves one";
  if (active.value_or(0) == 1) return Ok(std::string("on, with one CPU a core for this process") + kHttp);
  return Ok(std::string(active ? "off" : "one CPU a core") + kHttp);
}

constexpr Check kNodesChecks[] = {
    {"nodes", CheckNodes},
    {"cpuless_memory", CheckCpulessMemory},
    {"node_memory", CheckNodeMemory},
    {"bandwidth", CheckBandwidth},
    {"allowed_cpus", CheckAllowedCpus},
    {"allowed_memory", CheckAllowedMemory},
    {"smt", CheckSmt},
};

}  // namespace

std::span<const Check> NodeChecks() {
  return kNodesChecks;
}

}  // namespace onecopy::report
