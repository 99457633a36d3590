// What the number of nodes in a socket says about a firmware setting. Sources: AMD, "Socket SP5/SP6 Platform NUMA
// Topology" (NPS, L3 as NUMA); Intel, "Xeon Scalable Family Technical Overview" (SNC); memory channels from data sheets.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "runtime/numa/sysfs.h"
#include "runtime/report/doctor_checks.h"

namespace onecopy::report {
namespace {

bool IsAmd(const std::string& model) {
  return model.find("AMD") != std::string::npos || model.find("EPYC") != std::string::npos;
}
bool IsIntel(const std::string& model) {
  return model.find("Intel") != std::string::npos || model.find("Xeon") != std::string::npos;
}

// The four digits of "EPYC 9655" or "Platinum 8592+"; empty where the model has none (virtual machines).
std::string ModelNumber(const std::string& model) {
  for (size_t i = 0; i + 4 <= model.size(); ++i) {
    const auto digits = [](char c) { return c >= '0' && c <= '9'; };
    if (!std::all_of(model.begin() + i, model.begin() + i + 4, digits)) continue;
    if (i > 0 && model[i - 1] != ' ') continue;
    return model.substr(i, 4);
  }
  return "";
}

// Memory channels of a socket; 0 where it is not known.
int Channels(const std::string& model) {
  const std::string number = ModelNumber(model);
  if (number.empty()) return 0;
  if (model.find("EPYC") != std::string::npos) {
    // EPYC 4000 and its like have other memory.
    const std::map<char, int> by_series = {{'7', 8}, {'8', 6}, {'9', 12}};
    const auto it = by_series.find(number[0]);
    return it == by_series.end() ? 0 : it->second;
  }
  if (model.find("Platinum") != std::string::npos || model.find("Gold") != std::string::npos ||
      model.find("Silver") != std::string::npos || model.find("Bronze") != std::string::npos) {
    // The second digit is the generation; the Platinum 9200 is two processors in one.
    if (number.compare(0, 2, "92") == 0) return 12;
    const int generation = number[1] - '0';
    return generation <= 2 ? 6 : generation <= 5 ? 8 : 0;
  }
  if (number.compare(0, 2, "69") == 0) return 12;  // Xeon 6900
  if (number.compare(0, 2, "67") == 0 || number.compare(0, 2, "65") == 0) return 8;
  return 0;
}

// Nodes that have CPUs, by socket.
std::map<int, std::set<int>> NodesOfSockets(const numa::Topology& topology) {
  std::map<int, std::set<int>> nodes;
  for (const numa::Node& node : topology.nodes)
    for (const numa::Cpu& cpu : node.cpus) nodes[cpu.package].insert(node.id);
  return nodes;
}

// Last-level caches of all sockets; 0 where they are not shown.
size_t LastLevelCaches(const CheckInput& input) {
  std::set<std::string> caches;
  for (const numa::Node& node : input.topology().nodes)
    for (const numa::Cpu& cpu : node.cpus) {
      const auto shared = numa::ReadText(
          input.root(), fmt::format("sys/devices/system/cpu/cpu{}/cache/index3/shared_cpu_list", cpu.id));
      if (!shared) return 0;
      caches.insert(*shared);
    }
  return caches.size();
}

std::string AmdMode(size_t per_socket, bool one_over_all, bool is_cache_each) {
  if (one_over_all) return "NPS0 (memory of both sockets is one node, interleaved)";
  if (is_cache_each || (per_socket != 1 && per_socket != 2 && per_socket != 4))
    return "L3 as NUMA (a node for each last-level cache)";
  return fmt::format("NPS{}", per_socket);
}

std::string IntelMode(size_t per_socket, bool one_over_all) {
  if (one_over_all) return "NUMA off (memory of the sockets is one node, interleaved)";
  if (per_socket == 1) return "sub-NUMA clustering off";
  return fmt::format("SNC{}", per_socket);
}

Finding CheckFirmware(const CheckInput& input) {
  const std::string model = CpuModel(input.cpuinfo);
  const auto sockets = NodesOfSockets(input.topology());
  if (sockets.empty()) return Ok("no CPUs to tell it by");
  size_t per_socket = 0;
  std::set<int> all;
  for (const auto& [socket, nodes] : sockets) {
    per_socket = std::max(per_socket, nodes.size());
    all.insert(nodes.begin(), nodes.end());
  }
  std::string found = fmt::format("{} socket{}, {} node{} a socket", sockets.size(),
                                  sockets.size() == 1 ? "" : "s", per_socket, per_socket == 1 ? "" : "s");
  // The cgroup may show part of a socket only, and a virtual machine whatever its owner chose.
  const bool one_over_all = sockets.size() > 1 && all.size() == 1;
  const bool is_cache_each = per_socket > 1 && LastLevelCaches(input) == all.size();
  if (IsAmd(model)) {
    const std::string mode = AmdMode(per_socket, one_over_all, is_cache_each);
    found += ", as with " + mode;
    if (mode.starts_with("L3")) found += "; --ranks-per socket is there where fewer, larger ranks are wanted";
  } else if (IsIntel(model)) {
    found += ", as with " + IntelMode(per_socket, one_over_all);
  }
  if (const int channels = Channels(model); channels > 0 && !one_over_all) {
    const double each = static_cast<double>(channels) / static_cast<double>(per_socket);
    found += fmt::format("; {} memory channels a socket by its model, so {:.3g} a node", channels, each);
  }
  return Ok(found + "; onecopy needs no change of it: one rank a node, whatever it is");
}

constexpr Check kFirmwareChecks[] = {{"firmware", CheckFirmware}};

}  // namespace

std::span<const Check> FirmwareChecks() {
  return kFirmwareChecks;
}

}  // namespace onecopy::report
