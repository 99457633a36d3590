#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "runtime/base/sizes.h"
#include "runtime/numa/sysfs.h"
#include "runtime/report/doctor_checks.h"

namespace onecopy::report {
namespace {

using numa::ReadNumber;
using numa::ReadText;

constexpr char kThp[] = "sys/kernel/mm/transparent_hugepage/enabled";
constexpr char kDefrag[] = "sys/kernel/mm/transparent_hugepage/defrag";

Finding CheckPlacement(const CheckInput& input) {
  if (!input.given.placement_error.empty())
    return Bad(input.given.placement_error, "allow these system calls, or start with --bind none");
  if (input.topology().nodes.size() < 2) return Ok("one node: all memory lies there");
  return Ok("memory can be bound to a node, and the kernel says where it lies");
}

Finding CheckTransparentHugePages(const CheckInput& input) {
  const auto text = ReadText(input.root(), kThp);
  if (!text)
    return Warn("not shown by this kernel; weights lie in 4 KiB pages",
                "use a kernel with CONFIG_TRANSPARENT_HUGEPAGE");
  const std::string mode = Selected(*text);
  if (mode == "never")
    return Warn("never: weights lie in 4 KiB pages, which costs decode speed",
                fmt::format("echo madvise | sudo tee /{}", kThp));
  const auto defrag = ReadText(input.root(), kDefrag);
  if (!defrag) return Ok(mode);
  const std::string how = Selected(*defrag);
  if (how != "never") return Ok(fmt::format("{}, defrag {}", mode, how));
  return Warn(mode + ", defrag never: weights get only those huge pages that lie free when they are loaded",
              fmt::format("echo madvise | sudo tee /{}", kDefrag));
}

struct Pool {
  uint64_t total = 0, free = 0;  // pages
};

std::string PoolFile(int node, uint64_t kilobytes, const char* name) {
  return fmt::format("sys/devices/system/node/node{}/hugepages/hugepages-{}kB/{}", node, kilobytes, name);
}

// The node's pool; where the kernel does not show it by node, the whole machine's stands for node 0.
Pool ReadPool(const CheckInput& input, int node, uint64_t kilobytes) {
  const auto total = ReadNumber(input.root(), PoolFile(node, kilobytes, "nr_hugepages"));
  if (total)
    return {*total, ReadNumber(input.root(), PoolFile(node, kilobytes, "free_hugepages")).value_or(*total)};
  if (node != input.places.front().id) return {};
  const std::string folder = fmt::format("sys/kernel/mm/hugepages/hugepages-{}kB/", kilobytes);
  const uint64_t all = ReadNumber(input.root(), folder + "nr_hugepages").value_or(0);
  return {all, ReadNumber(input.root(), folder + "free_hugepages").value_or(all)};
}

Finding CheckHugetlbPool(const CheckInput& input) {
  if (input.places.empty()) return Ok("no node to have one");
  std::vector<std::string> pools;
  uint64_t free_bytes = 0;
  for (const uint64_t kilobytes : {uint64_t{2048}, uint64_t{1048576}}) {
    for (const numa::Place& place : input.places) {
      for (const int node : place.nodes) {
        const Pool pool = ReadPool(input, node, kilobytes);
        if (pool.total == 0) continue;
        pools.push_back(fmt::format("{} of {} pages of {} free on node {}", pool.free, pool.total,
                                    kilobytes == 2048 ? "2 MiB" : "1 GiB", node));
        free_bytes += pool.free * kilobytes * 1024;
      }
    }
  }
  const std::string command =
      fmt::format("echo PAGES | sudo tee /{}", PoolFile(input.places.front().id, 2048, "nr_hugepages"));
  if (pools.empty())
    return Ok(fmt::format(
        "empty, and not needed; --hugepages 2m takes the weights and KV cache of a node (onecopy plan) "
        "in pages of 2 MiB from its pool: {}",
        command));
  const std::string found = fmt::format("{}", fmt::join(pools, ", "));
  constexpr double kMuch = 0.05;
  if (static_cast<double>(free_bytes) < kMuch * static_cast<double>(input.TotalMemory())) return Ok(found);
  return Warn(
      found + ": memory that only --hugepages 2m or 1g can use",
      fmt::format(
          "start with --hugepages 2m (or 1g); what a node lacks: {}; or give the pool back: sudo sysctl "
          "vm.nr_hugepages=0",
          command));
}

Finding CheckNumaBalancing(const CheckInput& input) {
  const auto mode = ReadNumber(input.root(), "proc/sys/kernel/numa_balancing");
  if (mode.value_or(0) == 0) return Ok(mode ? "off" : "not in this kernel");
  if (input.places.size() < 2) return Ok("on, with nothing to do on one node");
  // Bound weights are left alone; what remains is the fault that samples every access to shared windows and code.
  return Warn("on: the kernel samples memory accesses by page faults and moves unbound pages",
              "sudo sysctl kernel.numa_balancing=0");
}

Finding CheckZoneReclaim(const CheckInput& input) {
  const auto mode = ReadNumber(input.root(), "proc/sys/vm/zone_reclaim_mode");
  if (mode.value_or(0) == 0) return Ok(mode ? "off" : "not in this kernel");
  if (input.places.size() < 2) return Ok("on, with nothing to do on one node");
  return Warn(
      fmt::format("mode {}: the kernel stops to free page cache of a node before it looks elsewhere", *mode),
      "sudo sysctl vm.zone_reclaim_mode=0");
}

Finding CheckSwap(const CheckInput& input) {
  const std::string meminfo = ReadText(input.root(), "proc/meminfo").value_or("");
  const uint64_t total = numa::MeminfoBytes(meminfo, "SwapTotal").value_or(0);
  if (total == 0) return Ok("none");
  const uint64_t used = total - std::min(total, numa::MeminfoBytes(meminfo, "SwapFree").value_or(total));
  const auto swappiness = ReadNumber(input.root(), "proc/sys/vm/swappiness");
  std::string found = fmt::format("{} of {} in use", FormatBytes(used), FormatBytes(total));
  if (swappiness) found += fmt::format(", swappiness {}", *swappiness);
  constexpr uint64_t kLow = 10;  // only when memory is short
  if (swappiness.value_or(0) <= kLow && used * 100 <= total) return Ok(found);
  return Warn(found + ": experts that are seldom used may be swapped out",
              "start with --mlock, or sudo sysctl vm.swappiness=1; sudo swapoff -a brings back what is out");
}

// Least memory.high of the groups of this process (version 2), above which it is throttled, not killed.
uint64_t MemoryHigh(const std::string& root) {
  std::istringstream groups(ReadText(root, "proc/self/cgroup").value_or(""));
  uint64_t least = UINT64_MAX;
  for (std::string line; std::getline(groups, line);) {
    if (line.rfind("0::/", 0) != 0) continue;
    for (std::string path = line.substr(3);; path.erase(path.rfind('/'))) {
      while (!path.empty() && path.back() == '/') path.pop_back();
      least = std::min(least, ReadNumber(root, "sys/fs/cgroup" + path + "/memory.high").value_or(UINT64_MAX));
      if (path.empty()) break;
    }
  }
  return least;
}

Finding CheckCgroupMemory(const CheckInput& input) {
  const uint64_t limit = input.topology().cgroup_limit_bytes, high = MemoryHigh(input.root());
  const uint64_t total = input.TotalMemory();
  const char* advice =
      "raise the memory limit of the container or job (docker --memory, Kubernetes limits.memory, systemd "
      "MemoryHigh, "
      "Slurm --mem) where the model does not fit";
  if (high < total && high < limit)
    return Warn(fmt::format("memory.high {} of {}: above it the kernel slows all ranks of this host down",
                            FormatBytes(high), FormatBytes(total)),
                advice);
  if (limit == UINT64_MAX) return Ok("no limit");
  const std::string found = fmt::format("{} of {}", FormatBytes(limit), FormatBytes(total));
  if (limit >= total) return Ok(found);
  return Warn(found + " for all ranks of this host together; the kernel kills a rank that goes over it",
              advice);
}

Finding CheckMemlock(const CheckInput& input) {
  // "Max locked memory         8388608              8388608              bytes"
  std::istringstream limits(ReadText(input.root(), "proc/self/limits").value_or(""));
  for (std::string line; std::getline(limits, line);) {
    if (line.rfind("Max locked memory", 0) != 0) continue;
    std::istringstream words(line.substr(17));
    std::string soft;
    words >> soft;
    const bool number = !soft.empty() && soft.find_first_not_of("0123456789") == std::string::npos;
    if (!number) return Ok(soft + ": --mlock works");
    return Ok(FormatBytes(std::stoull(soft)) +
              ": enough without --mlock, which needs as much as a rank holds (ulimit -l unlimited; docker "
              "run --ulimit "
              "memlock=-1)");
  }
  return Ok("not shown");
}

Finding CheckSharedMemory(const CheckInput& input) {
  // The loader's staging blocks, 64 MiB a host (shard/loader.h), and for each rank the windows of the collectives
  // (two of 1 MiB, comm/communicator.h) and Open MPI's own segment (4 MiB).
  constexpr uint64_t kBytesPerHost = uint64_t{64} << 20;
  constexpr uint64_t kBytesPerRank = uint64_t{8} << 20;
  const auto& bytes = input.given.shm_bytes;
  const size_t ranks = std::max<size_t>(1, input.places.size());
  const char* advice =
      "sudo mount -o remount,size=4G /dev/shm; in containers docker run --shm-size 4g, in Kubernetes "
      "an emptyDir with medium Memory at /dev/shm";
  if (!bytes)
    return ranks < 2 ? Ok("/dev/shm is absent, and one rank needs none") : Bad("/dev/shm is absent", advice);
  const std::string available = FormatBytes(*bytes) + " free in /dev/shm";
  if (ranks < 2) return Ok(available + ", and one rank needs none");
  const uint64_t needed = kBytesPerHost + ranks * kBytesPerRank;
  const std::string found = fmt::format("{}; {} ranks use up to {}", available, ranks, FormatBytes(needed));
  return *bytes >= needed ? Ok(found) : Bad(found, advice);
}

constexpr Check kMemoryChecks[] = {
    {"placement", CheckPlacement},        {"transparent_huge_pages", CheckTransparentHugePages},
    {"hugetlb_pool", CheckHugetlbPool},   {"numa_balancing", CheckNumaBalancing},
    {"zone_reclaim", CheckZoneReclaim},   {"swap", CheckSwap},
    {"cgroup_memory", CheckCgroupMemory}, {"memlock", CheckMemlock},
    {"shared_memory", CheckSharedMemory},
};

}  // namespace

std::span<const Check> MemoryChecks() {
  return kMemoryChecks;
}

}  // namespace onecopy::report
