#include "runtime/report/node_bandwidth.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstring>
#include <map>
#include <set>
#include <thread>

#include "runtime/base/current_error.h"
#include "runtime/base/sizes.h"
#include "runtime/numa/arena.h"
#include "runtime/numa/binding.h"

namespace onecopy::report {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kLine = 64;

double ElapsedSeconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

// Out of all caches, of which a server has more than the buffer is large.
void Evict(const uint8_t* data, size_t bytes) {
#if defined(__x86_64__)
  for (size_t i = 0; i < bytes; i += kLine) asm volatile("clflush %0" ::"m"(data[i]));
  asm volatile("mfence" ::: "memory");
#else
  (void)data, (void)bytes;
#endif
}

uint64_t Read(const uint8_t* data, size_t bytes) {
  uint64_t sum[8] = {};
  for (size_t i = 0; i + kLine <= bytes; i += kLine) {
    uint64_t words[8];
    std::memcpy(words, data + i, sizeof words);
    for (int k = 0; k < 8; ++k) sum[k] += words[k];
  }
  uint64_t total = 0;
  for (uint64_t s : sum) total += s;
  return total;
}

// Threads of one place on one buffer.
struct Job {
  const numa::Place* place;
  const numa::Arena* arena;
};

class Meter {
 public:
  Meter(const numa::Topology& topology, const NodeBandwidthOptions& options)
      : topology_(topology), options_(options) {}

  bool HasTime() const { return ElapsedSeconds(start_) < options_.budget_seconds; }

  // Bytes a second of each job, while all run at once. Errors: as numa::PinThread, numa::Arena.
  std::vector<double> Run(const std::vector<Job>& jobs) const {
    if (jobs.empty()) return {};
    constexpr double kEnough = 0.05;
    struct Worker {
      size_t job;
      int cpu;
      uint8_t* begin;
      size_t bytes;
      double seconds = 0;
    };
    std::vector<Worker> workers;
    for (size_t j = 0; j < jobs.size(); ++j) {
      const std::vector<int> cpus = numa::CpuIds(jobs[j].place->cpus, /*smt=*/false);
      const size_t part = jobs[j].arena->bytes() / cpus.size() / kLine * kLine;
      for (size_t c = 0; c < cpus.size(); ++c)
        workers.push_back({j, cpus[c], jobs[j].arena->data() + c * part, part});
    }
    std::vector<std::string> errors(workers.size());
    std::barrier everyone(static_cast<std::ptrdiff_t>(workers.size()));
    std::atomic<uint64_t> sink{0};
    std::atomic<int> passes{0};
    const auto work = [&](size_t w) {
      Worker& me = workers[w];
      try {
        numa::PinThread(me.cpu);
      } catch (const Error& e) {
        errors[w] = e.what();
      }
      for (bool more = true; more;) {
        Evict(me.begin, me.bytes);
        everyone.arrive_and_wait();
        const auto start = Clock::now();
        sink += Read(me.begin, me.bytes);
        me.seconds += ElapsedSeconds(start);
        if (w == 0) ++passes;
        everyone.arrive_and_wait();
        more = workers[0].seconds < kEnough && passes < 8;
        everyone.arrive_and_wait();
      }
    };
    std::vector<std::jthread> threads;
    try {
      while (threads.size() < workers.size()) threads.emplace_back(work, threads.size());
    } catch (...) {
      const size_t begun = threads.size();
      errors[begun] = CurrentError("measuring the nodes' memory").what();
      for (size_t w = begun; w < workers.size(); ++w) everyone.arrive_and_drop();
    }
    threads.clear();  // joins them
    for (const std::string& error : errors)
      if (!error.empty()) throw Error(ErrorCode::kCommunication, error);
    std::vector<double> rates(jobs.size());
    for (const Worker& w : workers)
      if (w.seconds > 0) rates[w.job] += static_cast<double>(w.bytes) * passes / w.seconds;
    return rates;
  }

  // The buffer of a node, made and touched when first asked for, by the CPUs of `place`.
  const numa::Arena& Buffer(int node, const numa::Place& place) {
    if (const auto it = buffers_.find(node); it != buffers_.end()) return it->second;
    constexpr uint64_t kLeastBytes = 4u << 20;
    const uint64_t bytes = std::min(options_.most_bytes, topology_.Find(node)->free_bytes / 4);
    if (bytes < kLeastBytes)
      Fail(ErrorCode::kNoMemory, "node {} has only {} free", node,
           FormatBytes(topology_.Find(node)->free_bytes));
    numa::Arena arena("doctor's measurement", bytes, topology_.sysfs_numa ? node : -1);
    const std::vector<int> cpus = numa::CpuIds(place.cpus, /*smt=*/false);
    std::vector<std::jthread> threads;
    for (size_t c = 0; c < cpus.size(); ++c)
      threads.emplace_back([&, c] {
        const size_t begin = arena.bytes() / cpus.size() * c, end = arena.bytes() / cpus.size() * (c + 1);
        std::memset(arena.data() + begin, 1, end - begin);
      });
    threads.clear();  // joins them
    return buffers_.emplace(node, std::move(arena)).first->second;
  }

 private:
  const numa::Topology& topology_;
  const NodeBandwidthOptions& options_;
  const Clock::time_point start_ = Clock::now();
  std::map<int, numa::Arena> buffers_;
};

struct Wanted {
  size_t place;
  int memory_node;
  size_t touched_by;  // place
};

std::vector<Wanted> PairsOf(const numa::Topology& topology, const std::vector<numa::Place>& places) {
  constexpr size_t kMostForMatrix = 4;
  std::vector<Wanted> wanted;
  for (size_t i = 0; i < places.size(); ++i) wanted.push_back({i, places[i].id, i});
  for (size_t i = 0; i < places.size(); ++i)
    for (const auto* nodes : {&places[i].fast_memory, &places[i].slow_memory})
      for (int node : *nodes) wanted.push_back({i, node, i});
  if (places.size() <= kMostForMatrix) {
    for (size_t i = 0; i < places.size(); ++i)
      for (size_t j = 0; j < places.size(); ++j)
        if (i != j) wanted.push_back({i, places[j].id, j});
    return wanted;
  }
  const numa::Node& first = *topology.Find(places[0].id);
  std::set<int> seen;
  for (size_t j = 1; j < places.size(); ++j) {
    const auto at = std::find_if(topology.nodes.begin(), topology.nodes.end(),
                                 [&](const numa::Node& n) { return n.id == places[j].id; });
    const auto index = static_cast<size_t>(at - topology.nodes.begin());
    const int distance = index < first.distances.size() ? first.distances[index] : 0;
    if (seen.insert(distance).second) wanted.push_back({0, places[j].id, j});
  }
  return wanted;
}

constexpr char kNoTime[] = "left out, since this machine is slow to measure";

}  // namespace

const PairBandwidth* NodeBandwidths::Find(int cpu_node, int memory_node) const {
  for (const PairBandwidth& pair : pairs)
    if (pair.cpu_node == cpu_node && pair.memory_node == memory_node) return &pair;
  return nullptr;
}

NodeBandwidths MeasureNodeBandwidths(const numa::Topology& topology, const std::vector<numa::Place>& places,
                                     const NodeBandwidthOptions& options) {
  NodeBandwidths result;
  Meter meter(topology, options);
  // All at once comes first: it is what counts, and makes every node's buffer.
  std::vector<Job> jobs;
  for (const numa::Place& place : places) {
    result.at_once.push_back({place.id, place.id, 0, ""});
    try {
      if (!meter.HasTime()) Fail(ErrorCode::kCommunication, "{}", kNoTime);
      jobs.push_back({&place, &meter.Buffer(place.id, place)});
    } catch (const Error& e) {
      result.at_once.back().why_not = e.what();
    }
  }
  try {
    const std::vector<double> rates = meter.Run(jobs);
    for (size_t j = 0; j < jobs.size(); ++j)
      for (PairBandwidth& pair : result.at_once)
        if (pair.cpu_node == jobs[j].place->id) result.sum += pair.bytes_per_second = rates[j];
  } catch (const Error& e) {
    for (PairBandwidth& pair : result.at_once) pair.why_not = e.what();
  }
  for (const Wanted& wanted : PairsOf(topology, places)) {
    PairBandwidth pair{places[wanted.place].id, wanted.memory_node, 0, ""};
    try {
      if (!meter.HasTime()) Fail(ErrorCode::kCommunication, "{}", kNoTime);
      const numa::Arena& buffer = meter.Buffer(wanted.memory_node, places[wanted.touched_by]);
      pair.bytes_per_second = meter.Run({{&places[wanted.place], &buffer}})[0];
    } catch (const Error& e) {
      pair.why_not = e.what();
    }
    result.pairs.push_back(std::move(pair));
  }
  return result;
}

}  // namespace onecopy::report
