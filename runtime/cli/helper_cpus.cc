#include "runtime/cli/helper_cpus.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

namespace onecopy::cli {
namespace {

using Core = std::pair<int, int>;  // package, core

Core CoreOf(const numa::Cpu& cpu) {
  return {cpu.package, cpu.core};
}

// Of each core that is (or is not) computed on, one CPU that is not.
std::vector<int> FreeCpus(const std::vector<numa::Cpu>& cpus, const std::set<int>& used,
                          const std::set<Core>& used_cores, bool siblings) {
  std::vector<int> free;
  std::set<Core> seen;
  for (const numa::Cpu& cpu : cpus) {
    if (used.contains(cpu.id) || used_cores.contains(CoreOf(cpu)) != siblings) continue;
    if (seen.insert(CoreOf(cpu)).second) free.push_back(cpu.id);
  }
  return free;
}

}  // namespace

HelperCpus FindHelperCpus(const numa::Topology& topology, const PlacementWish& wish, int ranks_on_host,
                          int most) {
  std::set<int> used;
  std::vector<numa::Cpu> home, all;
  for (int rank = 0; rank < ranks_on_host; ++rank) {
    const Placement placement = Place(topology, wish, rank, ranks_on_host);
    if (!placement.place || !placement.pin_threads) return {};
    used.insert(placement.cpus.begin(), placement.cpus.end());
    if (rank == 0) home = placement.place->cpus;
  }
  for (const numa::Place& place : numa::FindPlaces(topology, wish.places))
    all.insert(all.end(), place.cpus.begin(), place.cpus.end());
  std::set<Core> used_cores;
  for (const numa::Cpu& cpu : all)
    if (used.contains(cpu.id)) used_cores.insert(CoreOf(cpu));
  using Kind = HelperCpus::Kind;
  for (const auto& [kind, cpus] : {std::pair(Kind::kCores, &home), std::pair(Kind::kCores, &all),
                                   std::pair(Kind::kSiblings, &home), std::pair(Kind::kSiblings, &all)}) {
    std::vector<int> free = FreeCpus(*cpus, used, used_cores, kind == Kind::kSiblings);
    if (free.empty()) continue;
    std::sort(free.begin(), free.end());
    free.erase(free.begin(), free.end() - std::min<ptrdiff_t>(most, std::ssize(free)));
    return {kind, std::move(free)};
  }
  return {};
}

std::string Describe(const HelperCpus& helpers) {
  const char* of = "";
  switch (helpers.kind) {
    case HelperCpus::Kind::kShared:
      return "on the CPUs of rank 0, since none is left beside those that compute";
    case HelperCpus::Kind::kCores:
      of = "of cores on which no rank computes";
      break;
    case HelperCpus::Kind::kSiblings:
      of = "SMT siblings of cores that compute";
      break;
  }
  return fmt::format("on {} {}, {}", helpers.cpus.size() == 1 ? "CPU" : "CPUs", fmt::join(helpers.cpus, ", "),
                     of);
}

}  // namespace onecopy::cli
