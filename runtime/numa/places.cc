#include "runtime/numa/places.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/numa/sysfs.h"

namespace onecopy::numa {
namespace {

bool HasMemory(const Node& node) {
  return node.memory_bytes > 0 && node.memory_allowed;
}

std::vector<int> Ids(const Topology& topology, bool (*wanted)(const Node&)) {
  std::vector<int> ids;
  for (const Node& node : topology.nodes)
    if (wanted(node)) ids.push_back(node.id);
  return ids;
}

size_t IndexOf(const Topology& topology, int id) {
  size_t index = 0;
  while (topology.nodes[index].id != id) ++index;
  return index;
}

// The one of `candidates` (ascending, not empty) that is nearest to `node`.
int Nearest(const Topology& topology, const Node& node, const std::vector<int>& candidates) {
  return *std::min_element(candidates.begin(), candidates.end(), [&](int a, int b) {
    return node.distances[IndexOf(topology, a)] < node.distances[IndexOf(topology, b)];
  });
}

// Nodes that can hold a rank. Where CPUs and memory are on different nodes altogether: the memory nearest to CPUs.
std::vector<int> RankNodes(const Topology& topology) {
  std::vector<int> ids = Ids(topology, [](const Node& n) { return !n.cpus.empty() && HasMemory(n); });
  if (!ids.empty()) return ids;
  const std::vector<int> with_memory = Ids(topology, HasMemory);
  if (with_memory.empty()) return {};
  for (const Node& node : topology.nodes)
    if (!node.cpus.empty()) ids.push_back(Nearest(topology, node, with_memory));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::vector<int> Chosen(const std::vector<int>& rank_nodes, const std::vector<int>& only) {
  if (only.empty()) return rank_nodes;
  std::vector<int> chosen = only;
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  for (int id : chosen)
    if (!std::binary_search(rank_nodes.begin(), rank_nodes.end(), id))
      Fail(ErrorCode::kUsage, "--nodes {}: node {} cannot hold a rank; nodes with CPUs and memory here: {}",
           FormatIdList(chosen), id, rank_nodes.empty() ? "none" : FormatIdList(rank_nodes));
  return chosen;
}

void SortCpus(std::vector<Cpu>* cpus) {
  std::sort(cpus->begin(), cpus->end(), [](const Cpu& a, const Cpu& b) { return a.id < b.id; });
}

// Gives what lies on no rank's node to the nearest place.
void AddNeighbours(const Topology& topology, const std::vector<int>& rank_nodes,
                   std::map<int, Place*> place_of_node) {
  for (const Node& node : topology.nodes) {
    if (std::binary_search(rank_nodes.begin(), rank_nodes.end(), node.id)) continue;
    const bool has_cpus = !node.cpus.empty();
    if (!has_cpus && !HasMemory(node)) continue;
    const int home = Nearest(topology, node, rank_nodes);
    if (!place_of_node.contains(home)) continue;  // the neighbour of a node that is left out
    Place* place = place_of_node.at(home);
    if (has_cpus) {
      place->cpus.insert(place->cpus.end(), node.cpus.begin(), node.cpus.end());
      place->cpu_donors.push_back(node.id);
    } else {
      const bool fast = node.stated_read_bandwidth > topology.Find(home)->stated_read_bandwidth &&
                        topology.Find(home)->stated_read_bandwidth > 0;
      (fast ? place->fast_memory : place->slow_memory).push_back(node.id);
    }
  }
}

int PackageOf(const Node& node) {
  return node.cpus.empty() ? -1 : node.cpus.front().package;
}

}  // namespace

std::vector<Place> FindPlaces(const Topology& topology, const PlaceOptions& options) {
  const std::vector<int> rank_nodes = RankNodes(topology);
  const std::vector<int> chosen = Chosen(rank_nodes, options.only_nodes);
  std::vector<Place> places;
  places.reserve(chosen.size());  // pointers into it are kept below
  std::map<int, Place*> of_package, of_node;
  for (int id : chosen) {
    const Node& node = *topology.Find(id);
    const int package = PackageOf(node);
    const bool joins = options.per_socket && package >= 0 && of_package.contains(package);
    if (!joins) {
      places.emplace_back();
      places.back().id = id;
    }
    Place* place = joins ? of_package.at(package) : &places.back();
    if (package >= 0) of_package[package] = place;
    of_node[id] = place;
    place->nodes.push_back(id);
    place->cpus.insert(place->cpus.end(), node.cpus.begin(), node.cpus.end());
  }
  if (!places.empty()) AddNeighbours(topology, rank_nodes, of_node);
  for (Place& place : places) SortCpus(&place.cpus);
  return places;
}

Homes::Homes(const Topology& topology, const Place& place, CpulessMemory cpuless, int sharers,
             uint64_t reserve) {
  const auto tier = [&](const std::vector<int>& nodes, uint64_t keep) {
    Tier made;
    for (int id : nodes) {
      const uint64_t mine = topology.Find(id)->free_bytes / static_cast<uint64_t>(sharers);
      made.nodes.push_back({id, mine - std::min(mine, keep)});
      available_ += mine;
    }
    return made;
  };
  available_ = 0;
  if (cpuless != CpulessMemory::kNone && !place.fast_memory.empty())
    tiers_.push_back(tier(place.fast_memory, 0));
  own_ = tiers_.size();
  tiers_.push_back(tier(place.nodes, reserve / place.nodes.size()));
  if (cpuless == CpulessMemory::kAll && !place.slow_memory.empty())
    tiers_.push_back(tier(place.slow_memory, 0));
}

namespace {

// Stripes are large enough that an arena has at most this many: each is a mapping of its own, of which a process may
// have 65530.
constexpr uint64_t kMaxStripes = 256;

// Takes up to `bytes` from the nodes by turns, as much of each as is left. Returns what found no room.
uint64_t TakeByTurns(std::vector<Extent>* nodes, uint64_t bytes, uint64_t granule, std::vector<Extent>* out) {
  uint64_t stripe = bytes;
  if (nodes->size() > 1) stripe = RoundUp(DivUp(bytes, kMaxStripes), granule);
  for (bool any = true; bytes > 0 && any;) {
    any = false;
    for (Extent& node : *nodes) {
      const uint64_t take = std::min({bytes, stripe, node.bytes / granule * granule});
      if (take == 0) continue;
      node.bytes -= take;
      bytes -= take;
      any = true;
      if (!out->empty() && out->back().node == node.node)
        out->back().bytes += take;
      else
        out->push_back({node.node, take});
    }
  }
  return bytes;
}

}  // namespace

std::vector<Extent> Homes::Take(uint64_t bytes, uint64_t granule) {
  bytes = RoundUp(bytes, granule);
  if (bytes == 0) return {};
  if (tiers_.empty()) return {{-1, bytes}};
  std::vector<Extent> extents;
  for (Tier& tier : tiers_) bytes = TakeByTurns(&tier.nodes, bytes, granule, &extents);
  if (bytes > 0) {
    std::vector<Extent> beyond = tiers_[own_].nodes;
    for (Extent& node : beyond) node.bytes = bytes;
    TakeByTurns(&beyond, bytes, granule, &extents);
  }
  return extents;
}

}  // namespace onecopy::numa
