#include "runtime/cli/placement.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "runtime/base/error.h"
#include "runtime/numa/binding.h"
#include "runtime/numa/sysfs.h"

namespace onecopy::cli {
namespace {

// Index of the variable's value among `values`; the first where it is not set.
size_t Choice(const char* variable, std::initializer_list<const char*> values) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == 0) return 0;
  for (size_t i = 0; i < values.size(); ++i)
    if (std::strcmp(text, values.begin()[i]) == 0) return i;
  Fail(ErrorCode::kUsage, "{} is '{}'; expected one of {}", variable, text, fmt::join(values, ", "));
}

}  // namespace

PlacementWish WishFromEnvironment() {
  PlacementWish wish;
  wish.bind = Choice("ONECOPY_BIND", {"none", "numa"}) == 1;
  wish.places.per_socket = Choice("ONECOPY_RANKS_PER", {"node", "socket"}) == 1;
  wish.memory_nodes =
      static_cast<numa::CpulessMemory>(Choice("ONECOPY_MEMORY_NODES", {"fast", "none", "all"}));
  if (const char* nodes = std::getenv("ONECOPY_NODES"); nodes && *nodes)
    wish.places.only_nodes = numa::ParseIdList(nodes, "ONECOPY_NODES");
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
  const auto places = numa::FindPlaces(topology, wish.places);
  if (places.empty() && wish.bind)
    Fail(ErrorCode::kCommunication,
         "host {} has no NUMA node with both CPUs and memory that this process may use; check its cpuset "
         "(cpuset.cpus, cpuset.mems)",
         topology.host);
  Placement placement;
  if (places.size() == 1) placement.node_id = places[0].id;

  std::vector<int> cores;  // one CPU a core, of the nodes this rank may use
  int index = rank_on_host;
  placement.sharers = ranks_on_host;
  if (wish.bind) {
    const auto n_places = static_cast<int>(places.size());
    const auto place_of = [&](int rank) {
      return static_cast<int>(int64_t{rank} * n_places / ranks_on_host);
    };
    const int mine = place_of(rank_on_host);
    placement.place = places[mine];
    placement.node_id = placement.place->id;
    placement.sharers = index = 0;
    for (int r = 0; r < ranks_on_host; ++r) {
      if (place_of(r) != mine) continue;
      if (r < rank_on_host) ++index;
      ++placement.sharers;
    }
    cores = numa::CpuIds(placement.place->cpus, /*smt=*/false);
  } else {
    for (const numa::Place& place : places)
      for (int cpu : numa::CpuIds(place.cpus, /*smt=*/false)) cores.push_back(cpu);
  }

  const auto n_cores = static_cast<int>(cores.size());
  placement.threads = wish.threads > 0 ? wish.threads : std::max(1, n_cores / placement.sharers);
  if (!wish.bind) return placement;
  if (n_cores >= placement.sharers) {
    placement.cpus.assign(cores.begin() + int64_t{index} * n_cores / placement.sharers,
                          cores.begin() + int64_t{index + 1} * n_cores / placement.sharers);
    placement.pin_threads = placement.threads <= static_cast<int>(placement.cpus.size());
    if (wish.threads > 0 && placement.pin_threads) placement.cpus.resize(placement.threads);
  } else {
    for (const numa::Cpu& cpu : placement.place->cpus) placement.cpus.push_back(cpu.id);
    // Many ranks a CPU take turns at every exchange, and moving between CPUs costs more than it evens out: 24 ranks on 2
    // cores made 519 tokens/s with a CPU each, 245 without. Few ranks a CPU would be uneven.
    constexpr int kManyRanks = 4;
    const auto n_cpus = static_cast<int>(placement.cpus.size());
    if (placement.sharers >= kManyRanks * n_cpus) placement.cpus = {placement.cpus[index % n_cpus]};
  }
  if (placement.pin_threads) placement.threads = static_cast<int>(placement.cpus.size());
  return placement;
}

numa::Homes Seat::Homes(uint64_t reserve) const {
  if (!placement.place || !topology.sysfs_numa) return {};
  return numa::Homes(topology, *placement.place, wish.memory_nodes, placement.sharers, reserve);
}

Seat TakeSeat(const numa::Topology& topology, const PlacementWish& wish, int rank_on_host,
              int ranks_on_host) {
  Seat seat{topology, wish, Place(topology, wish, rank_on_host, ranks_on_host), ranks_on_host};
  if (seat.placement.place)
    numa::BindProcess(seat.placement.cpus,
                      topology.sysfs_numa ? seat.placement.place->nodes : std::vector<int>());
  return seat;
}

std::optional<LocalRank> LauncherLocalRank() {
  const char* rank = std::getenv("OMPI_COMM_WORLD_LOCAL_RANK");
  const char* ranks = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (rank == nullptr || ranks == nullptr) return std::nullopt;
  const LocalRank local{std::atoi(rank), std::atoi(ranks)};
  return local.rank >= 0 && local.rank < local.ranks ? std::optional(local) : std::nullopt;
}

}  // namespace onecopy::cli
