#include "runtime/cli/plan_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/registry.h"
#include "runtime/base/error.h"
#include "runtime/base/sizes.h"
#include "runtime/cli/model_options.h"
#include "runtime/exec/thread_team.h"
#include "runtime/numa/binding.h"
#include "runtime/numa/places.h"
#include "runtime/report/kernel_rates.h"
#include "runtime/report/machine.h"
#include "runtime/report/machine_file.h"

namespace onecopy::cli {
namespace {

using shard::MachineModel;
using shard::MatmulRate;

// Stated where nothing is measured: what the AVX2 kernels reach on a Xeon of 2024, in cycles; a prediction hardly
// depends on them.
constexpr double kDefaultClock = 3e9;
constexpr double kAvx2Int8Peak = 64, kAvx2FloatPeak = 16;  // multiply-adds a cycle: two units of 256 bits
constexpr shard::VectorCosts kVectorCycles = {
    .norm = 0.4, .quantize = 1.1, .silu = 1.8, .softmax = 2.1, .add = 1.5, .attend = 0.25};
// EPCC's OpenMP micro-benchmarks on servers: some microseconds, growing with the threads.
constexpr double kRegionBase = 1e-6, kRegionPerThread = 0.06e-6;
constexpr double kWakeSeconds = 10e-6;
constexpr double kJumpSeconds = 1.5e-6;
// Without a file, the part of a node's bandwidth that reads from the other socket get.
constexpr double kRemoteShare = 0.5;

std::vector<uint64_t> ParseMemories(const std::string& text) {
  std::vector<uint64_t> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    out.push_back(ParseBytes(text.substr(begin, comma - begin)));
    begin = comma + 1;
  }
  return out;
}

// One value for all, or one a node.
template <typename T>
T Of(const std::vector<T>& values, size_t node, size_t nodes, const char* option) {
  if (values.size() == 1) return values[0];
  if (values.size() != nodes)
    Fail(ErrorCode::kUsage, "{} has {} values for {} nodes; give one, or one for each node", option,
         values.size(), nodes);
  return values[node];
}

double Interpolate(const std::vector<std::pair<double, double>>& curve, double x) {
  if (x <= curve.front().first) return curve.front().second;
  for (size_t i = 1; i < curve.size(); ++i) {
    const auto &a = curve[i - 1], &b = curve[i];
    if (x <= b.first)
      return a.second + std::log(x / a.first) / std::log(b.first / a.first) * (b.second - a.second);
  }
  return curve.back().second;
}

}  // namespace

PlanMachine::PlanMachine(const PlanWish& wish, const numa::Topology& topology, const proto::ModelSpec& spec,
                         const kernels::KernelTable& table) {
  if (!wish.machine.empty()) {
    ReadFile(wish, table);
  } else {
    TakeThisMachine(wish, topology);
    if (wish.bandwidth.empty()) {
      Measure(spec, table, topology);
    } else {
      State(table, kAvx2Int8Peak, kAvx2FloatPeak, kDefaultClock);
      source_ = "given";
      basis_ = fmt::format("the bandwidth given, and stated defaults for cores of {:.0f} GHz with AVX2",
                           kDefaultClock / 1e9);
    }
  }
  Override(wish);
}

int PlanMachine::sockets() const {
  std::set<int> ids;
  for (const Node& node : nodes_) ids.insert(node.socket);
  return static_cast<int>(ids.size());
}

void PlanMachine::ReadFile(const PlanWish& wish, const kernels::KernelTable& table) {
  const report::MachineFile file = report::LoadMachineFile(wish.machine);
  name_ = file.name;
  is_here_ = false;
  source_ = "machine file";
  for (const auto& node : file.nodes)
    nodes_.push_back(
        {static_cast<int>(nodes_.size()), node.socket, node.cores, node.memory_bytes, node.read_bandwidth});
  const report::MachineFile::Peak* peak = nullptr;
  std::string kernels;
  for (const kernels::TableEntry& entry : kernels::AllTables()) {  // best first
    const auto it = file.kernels.find(entry.name);
    if (peak || it == file.kernels.end()) continue;
    peak = &it->second;
    kernels = entry.name;
  }
  if (!peak)
    Fail(ErrorCode::kBadInput, "{}: cpu.kernels names no table of this build; it has {} and others",
         file.path, kernels::AllTables().front().name);
  State(table, peak->int8, peak->floats, file.clock_hz);
  for (auto& of_type : model_.matmul)
    for (MatmulRate& rate : of_type) {
      if (rate.points.empty()) continue;
      const double full = rate.points.back().rate;
      rate.points.clear();
      for (const auto& [tokens, efficiency] : file.matmul_efficiency)
        rate.points.push_back({tokens, full * efficiency});
    }
  model_.core_read_bandwidth = file.core_read_bandwidth;
  model_.copy_bandwidth = file.copy_bandwidth;
  socket_link_bandwidth_ = file.socket_link_bandwidth;
  sync_seconds_.assign(file.sync_seconds.begin(), file.sync_seconds.end());
  basis_ = fmt::format("the machine file {} ({} kernels), data sheets and the estimates it lists", file.path,
                       kernels);
}

void PlanMachine::TakeThisMachine(const PlanWish& wish, const numa::Topology& topology) {
  const auto places = numa::FindPlaces(topology);
  const bool other = !wish.node_memory.empty();
  is_here_ = !other;
  name_ = other ? "nodes like those of this machine" : topology.host;
  uint64_t available = 0;
  for (const numa::Place& place : places) {
    const numa::Node& node = *topology.Find(place.id);
    nodes_.push_back({place.id, place.cpus.empty() ? 0 : place.cpus.front().package,
                      static_cast<int>(numa::CpuIds(place.cpus, false).size()), node.free_bytes, 0});
    available += node.free_bytes;
  }
  if (nodes_.empty()) nodes_.push_back({0, 0, 1, topology.cgroup_available_bytes, 0});
  if (!other) host_available_ = std::min(available, topology.cgroup_available_bytes);
}

// The rates with their full peak as one point; the caller may put a curve in their place.
void PlanMachine::State(const kernels::KernelTable& table, double int8_peak, double float_peak,
                        double clock_hz) {
  constexpr double kOneToken = 0.25, kMany = 0.35;  // share of the peak that the AVX2 kernels reach
  const bool from_file = !is_here_ && source_ == std::string("machine file");
  for (size_t t = 0; t < model_.matmul.size(); ++t) {
    const kernels::WeightKernel& kernel = table.weights[t];
    if (!kernel.matmul) continue;
    const double peak = clock_hz * (kernel.act == kernels::ActFormat::kQ8 ? int8_peak : float_peak);
    for (MatmulRate& rate : model_.matmul[t])
      rate.points = from_file ? std::vector<MatmulRate::Point>{{1, peak}}
                              : std::vector<MatmulRate::Point>{{1, peak * kOneToken}, {8, peak * kMany}};
  }
  const auto seconds = [clock_hz](double cycles) { return cycles / clock_hz; };
  const auto& c = kVectorCycles;
  model_.vectors = {seconds(c.norm),    seconds(c.quantize), seconds(c.silu),
                    seconds(c.softmax), seconds(c.add),      seconds(c.attend)};
  model_.copy_bandwidth = 8e9;
  model_.jump_seconds = kJumpSeconds;
  region_base_ = kRegionBase;
  region_per_thread_ = kRegionPerThread;
  sync_seconds_ = {
      {2, 2.2e-6}, {8, 5.1e-6}, {24, 8e-6}};  // shared-memory barriers measured by LCI (issue 176)
  wake_seconds_ = kWakeSeconds;
}

// On the CPUs that this process may use; nodes beyond them are taken to be alike.
void PlanMachine::Measure(const proto::ModelSpec& spec, const kernels::KernelTable& table,
                          const numa::Topology& topology) {
  const double signal = report::MeasureSignalSeconds(/*spins=*/true);
  wake_seconds_ = report::MeasureSignalSeconds(/*spins=*/false);
  // A round of flags: as many of those signals one behind the other as a tree of the ranks is deep.
  for (const int ranks : {2, 4, 8, 16, 32}) sync_seconds_.emplace_back(ranks, signal * std::log2(ranks));

  const std::vector<int> usable = numa::CurrentCpus();
  std::vector<int> cpus, node_of;
  for (const numa::Place& place : numa::FindPlaces(topology))
    for (const int cpu : numa::CpuIds(place.cpus, false))
      if (std::binary_search(usable.begin(), usable.end(), cpu)) {
        cpus.push_back(cpu);
        node_of.push_back(place.id);
      }
  const int threads = std::max(1, static_cast<int>(cpus.size()));
  const exec::ThreadTeam team(threads, cpus);

  constexpr uint64_t kProbeBytes = 128ull << 20, kMostProbeBytes = 4ull << 30;  // a thread; in all
  const report::MemoryProbe probe(threads, std::min(kProbeBytes * threads, kMostProbeBytes));
  const double total = probe.ReadBandwidth(3);
  const std::vector<double> by_thread = probe.ThreadBandwidths(1);
  double sum = 0;
  for (double rate : by_thread) sum += rate;
  for (Node& node : nodes_)
    for (size_t t = 0; t < node_of.size(); ++t)
      if (node_of[t] == node.id) node.read_bandwidth += by_thread[t] / sum * total;
  for (Node& node : nodes_)
    if (node.read_bandwidth == 0) node.read_bandwidth = total / threads * node.cores;

  std::set<size_t> types;
  for (const auto& weight : spec.weights()) types.insert(weight.type());
  for (const size_t t : types) {
    const auto type = static_cast<kernels::WeightType>(t);
    if (!table.weights[t].matmul) continue;
    for (const bool sums : {false, true}) {
      MatmulRate& rate = model_.matmul[t][sums];
      rate.from_memory = probe.MatmulRate(table, type, sums);
      for (const uint32_t tokens : {1u, 8u, 64u, 512u})
        rate.points.push_back(
            {double(tokens), report::MeasureMatmulRate(table, type, sums, tokens, threads)});
    }
  }
  const auto most_bytes =
      std::max_element(spec.weights().begin(), spec.weights().end(), [](const auto& a, const auto& b) {
        return a.rows() * a.cols() * std::max(1u, a.n_experts()) <
               b.rows() * b.cols() * std::max(1u, b.n_experts());
      });
  if (most_bytes != spec.weights().end())
    model_.jump_seconds = probe.JumpSeconds(table, static_cast<kernels::WeightType>(most_bytes->type()));
  const uint32_t heads_per_kv = std::max(1u, spec.n_heads() / std::max(1u, spec.n_kv_heads()));
  const auto v = report::MeasureVectorSeconds(table, std::min(heads_per_kv, 16u), spec.head_dim());
  model_.vectors = {v.norm, v.quantize, v.silu, v.softmax, v.add, v.attend};
  model_.copy_bandwidth = report::MeasureCopyBandwidth(threads);
  if (threads > 1) {
    const double two = report::MeasureRegionSeconds(2), all = report::MeasureRegionSeconds(threads);
    region_per_thread_ = threads > 2 ? std::max(0.0, all - two) / (threads - 2) : 0;
    region_base_ = two - 2 * region_per_thread_;
  }
  source_ = "measured";
  basis_ = fmt::format("this machine, measured now ({} threads read {:.1f} GB/s; {} kernels)", threads,
                       total / 1e9, table.name);
}

void PlanMachine::Override(const PlanWish& wish) {
  const std::vector<Node> known = nodes_;
  const auto memories = wish.node_memory.empty() ? std::vector<uint64_t>() : ParseMemories(wish.node_memory);
  size_t n = known.size();
  const size_t rates_given =
      wish.bandwidth.empty() ? 0 : std::count(wish.bandwidth.begin(), wish.bandwidth.end(), ',') + 1;
  // Other nodes than this machine's: as many as are asked for, or as the lists are long.
  const size_t asked = wish.nodes > 0 ? wish.nodes : std::max({n, memories.size(), rates_given});
  if (wish.machine.empty() && (!memories.empty() || (rates_given > 0 && asked > n))) {
    nodes_.clear();
    for (size_t i = 0; i < asked; ++i) {
      nodes_.push_back(known[i % known.size()]);
      nodes_.back().id = static_cast<int>(i);
      nodes_.back().socket = static_cast<int>(i);  // not known: at worst one each
      if (memories.empty()) nodes_.back().available_bytes = host_available_ / asked;
    }
    n = asked;
  }
  if (!memories.empty())
    for (size_t i = 0; i < n; ++i) nodes_[i].available_bytes = Of(memories, i, n, "--node-memory");
  if (!wish.bandwidth.empty()) {
    const auto rates = ParseBandwidths(wish.bandwidth, static_cast<int>(rates_given == 1 ? 1 : n));
    for (size_t i = 0; i < n; ++i) nodes_[i].read_bandwidth = Of(rates, i, n, "--bandwidth");
    if (source_ == std::string("machine file")) basis_ += ", with the bandwidth given";
  }
}

PlanMachine::Place PlanMachine::Merge(const std::vector<const Node*>& nodes) const {
  Place place;
  place.node = nodes.front()->id;
  place.threads = 0;
  std::set<int> sockets;
  for (const Node* node : nodes) {
    place.available_bytes += node->available_bytes;
    place.read_bandwidth += node->read_bandwidth;
    place.threads += node->cores;
    sockets.insert(node->socket);
  }
  if (sockets.size() < 2) return place;
  // Pages lie anywhere, so of what a core reads all but 1/sockets comes over the links, one part after the other.
  const auto n = static_cast<double>(sockets.size());
  const double local = place.read_bandwidth / n;
  const double link =
      socket_link_bandwidth_ > 0 ? std::min(local, socket_link_bandwidth_) : kRemoteShare * local;
  place.read_bandwidth = n / (1 / n / local + (1 - 1 / n) / link);
  return place;
}

std::vector<PlanMachine::Place> PlanMachine::Lay(Layout layout, int ranks) const {
  std::vector<Place> places;
  if (layout != Layout::kSpread) {
    std::vector<std::pair<int, std::vector<const Node*>>> groups;
    for (const Node& node : nodes_) {
      const int key = layout == Layout::kOneRank ? 0 : node.socket;
      auto it = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == key; });
      if (it == groups.end()) it = groups.insert(groups.end(), {key, {}});
      it->second.push_back(&node);
    }
    for (const auto& group : groups) places.push_back(Merge(group.second));
    return places;
  }
  // As cli::Place deals ranks to nodes.
  const auto n = static_cast<int>(nodes_.size());
  std::vector<int> sharers(n);
  const auto node_of = [&](int rank) { return static_cast<int>(int64_t{rank} * n / ranks); };
  for (int r = 0; r < ranks; ++r) ++sharers[node_of(r)];
  for (int r = 0; r < ranks; ++r) {
    const Node& node = nodes_[node_of(r)];
    const int shared_by = sharers[node_of(r)];
    places.push_back({node.id, shared_by, node.available_bytes, node.read_bandwidth / shared_by,
                      std::max(1, node.cores / shared_by), std::min(1.0, double(node.cores) / shared_by)});
  }
  return places;
}

double PlanMachine::RegionSeconds(int threads) const {
  return threads < 2 ? 0 : region_base_ + region_per_thread_ * threads;
}

double PlanMachine::SyncSeconds(int ranks, bool share_cores) const {
  if (ranks < 2) return 0;
  return Interpolate(sync_seconds_, ranks) + (share_cores ? wake_seconds_ : 0);
}

MachineModel PlanMachine::Model(const std::vector<Place>& places) const {
  MachineModel model = model_;
  double least_share = 1;
  for (const Place& place : places) {
    model.ranks.push_back(
        {place.read_bandwidth, place.threads, place.core_share, RegionSeconds(place.threads)});
    least_share = std::min(least_share, place.core_share);
  }
  // Where ranks share cores, the last to arrive had to wait for its turn.
  model.sync_seconds = SyncSeconds(static_cast<int>(places.size()), least_share < 1) / least_share;
  return model;
}

}  // namespace onecopy::cli
