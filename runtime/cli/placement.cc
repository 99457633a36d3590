#include "runtime/cli/placement.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "runtime/base/error.h"

namespace onecopy::cli {

PlacementWish WishFromEnvironment() {
  PlacementWish wish;
  if (const char* bind = std::getenv("ONECOPY_BIND"); bind && *bind) {
    if (std::strcmp(bind, "numa") != 0 && std::strcmp(bind, "none") != 0)
      Fail(ErrorCode::kUsage, "ONECOPY_BIND is '{}'; expected numa or none", bind);
    wish.bind = std::strcmp(bind, "numa") == 0;
  }
  if (const char* threads = std::getenv("ONECOPY_THREADS"); threads && *threads) {
    const char* end = threads + std::strlen(threads);
    const auto [stop, error] = std::from_chars(threads, end, wish.threads);
    if (error != std::errc() || stop != end || wish.threads < 1 || wish.threads > 4096)
      Fail(ErrorCode::kUsage, "ONECOPY_THREADS is '{}'; expected a number from 1 to 4096", threads);
  }
  return wish;
}

Placement Place(const numa::Topology& topology, const PlacementWish& wish, int rank_on_host,
                int ranks_on_host) {
  const auto nodes = topology.RankNodes();
  if (nodes.empty() && wish.bind)
    Fail(ErrorCode::kCommunication,
         "host {} has no NUMA node with both CPUs and memory that this process may use; check its cpuset "
         "(cpuset.cpus, cpuset.mems)",
         topology.host);
  Placement placement;
  if (nodes.size() == 1) placement.node_id = nodes[0]->id;

  std::vector<int> cores;  // one CPU a core, of the nodes this rank may use
  int sharers = ranks_on_host, index = rank_on_host;
  if (wish.bind) {
    const auto n_nodes = static_cast<int>(nodes.size());
    const auto node_of = [&](int rank) { return static_cast<int>(int64_t{rank} * n_nodes / ranks_on_host); };
    const int mine = node_of(rank_on_host);
    placement.node = nodes[mine];
    placement.node_id = placement.node->id;
    sharers = index = 0;
    for (int r = 0; r < ranks_on_host; ++r) {
      if (node_of(r) != mine) continue;
      if (r < rank_on_host) ++index;
      ++sharers;
    }
    cores = numa::Topology::CpusOf(*placement.node, /*smt=*/false);
  } else {
    for (const numa::Node& node : topology.nodes)
      for (int cpu : numa::Topology::CpusOf(node, /*smt=*/false)) cores.push_back(cpu);
  }

  const auto n_cores = static_cast<int>(cores.size());
  placement.threads = wish.threads > 0 ? wish.threads : std::max(1, n_cores / sharers);
  if (!wish.bind) return placement;
  if (n_cores >= sharers) {
    placement.cpus.assign(cores.begin() + int64_t{index} * n_cores / sharers,
                          cores.begin() + int64_t{index + 1} * n_cores / sharers);
    placement.pin_threads = placement.threads <= static_cast<int>(placement.cpus.size());
    if (wish.threads > 0 && placement.pin_threads) placement.cpus.resize(placement.threads);
  } else {
    for (const numa::Cpu& cpu : placement.node->cpus) placement.cpus.push_back(cpu.id);
  }
  if (placement.pin_threads) placement.threads = static_cast<int>(placement.cpus.size());
  return placement;
}

}  // namespace onecopy::cli
