// Walks each control group of this process up to the mount point. In a container without a cgroup namespace
// the path in /proc/self/cgroup is the host's, while the mount shows the container's own group as its root:
// files on the way are then absent and the walk ends at the right one.
#include "runtime/numa/cgroup.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "runtime/numa/sysfs.h"

namespace onecopy::numa {
namespace {

// Version 1 writes "no limit" as the largest multiple of the page size in 63 bits.
constexpr uint64_t kNoLimitV1 = uint64_t{1} << 62;

void LowerCpus(CgroupLimits* limits, double quota, double period) {
  if (quota > 0 && period > 0) limits->cpus = std::min(limits->cpus, quota / period);
}

void ReadGroupV2(const std::string& root, const std::string& group, CgroupLimits* limits) {
  if (const auto bytes = ReadNumber(root, group + "/memory.max")) {
    limits->memory_bytes = std::min(limits->memory_bytes, *bytes);
    // "file 123": bytes of page cache, which the kernel gives back before it kills.
    std::istringstream stat(ReadText(root, group + "/memory.stat").value_or(""));
    uint64_t cache = 0, value = 0;
    for (std::string key; stat >> key >> value;)
      if (key == "inactive_file" || key == "active_file") cache += value;
    const uint64_t current = ReadNumber(root, group + "/memory.current").value_or(0);
    const uint64_t used = current - std::min(current, cache);
    limits->available_bytes = std::min(limits->available_bytes, *bytes - std::min(*bytes, used));
  }
  if (const auto text =
          ReadText(root, group + "/cpu.max")) {  // "max 100000" or "200000 100000", microseconds
    double quota = 0, period = 0;
    std::istringstream stream(*text);
    if (stream >> quota >> period) LowerCpus(limits, quota, period);
  }
}

void ReadGroupV1(const std::string& root, const std::string& group, CgroupLimits* limits) {
  const auto bytes = ReadNumber(root, group + "/memory.limit_in_bytes");
  if (bytes && *bytes < kNoLimitV1) {
    limits->memory_bytes = std::min(limits->memory_bytes, *bytes);
    limits->available_bytes = std::min(limits->available_bytes, *bytes);
  }
  const auto quota = ReadNumber(root, group + "/cpu.cfs_quota_us");  // -1, no number here, when unlimited
  const auto period = ReadNumber(root, group + "/cpu.cfs_period_us");
  if (quota && period) LowerCpus(limits, static_cast<double>(*quota), static_cast<double>(*period));
}

// Calls read(root, group, limits) for mount + path, its parent, … and mount itself.
template <typename Read>
void WalkUp(const std::string& root, const std::string& mount, std::string path, CgroupLimits* limits,
            Read read) {
  while (!path.empty() && path.back() == '/') path.pop_back();
  while (!path.empty()) {
    // A process outside the namespace's root shows "/../other": that part of the tree is not visible here.
    if (path.find("/..") == std::string::npos) read(root, mount + path, limits);
    path.erase(path.rfind('/'));
  }
  read(root, mount, limits);
}

bool HasController(const std::string& controllers, const std::string& name) {
  return fmt::format(",{},", controllers).find(fmt::format(",{},", name)) != std::string::npos;
}

}  // namespace

CgroupLimits ReadCgroupLimits(const std::string& root) {
  CgroupLimits limits;
  const auto groups = ReadText(root, "proc/self/cgroup");
  if (!groups) return limits;
  std::istringstream lines(*groups);
  // Each line: hierarchy id ":" controllers ":" path. Version 2 is the line with id 0 and no controllers.
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    if (controllers.empty()) {
      // Beside version 1 (systemd's "hybrid" layout) version 2 is mounted one level down.
      WalkUp(root, "sys/fs/cgroup", path, &limits, ReadGroupV2);
      WalkUp(root, "sys/fs/cgroup/unified", path, &limits, ReadGroupV2);
    }
    if (HasController(controllers, "memory"))
      WalkUp(root, "sys/fs/cgroup/memory", path, &limits, ReadGroupV1);
    if (HasController(controllers, "cpu")) {
      // Mounted as "cpu", as "cpu,cpuacct", or under both names.
      WalkUp(root, "sys/fs/cgroup/cpu", path, &limits, ReadGroupV1);
      WalkUp(root, "sys/fs/cgroup/" + controllers, path, &limits, ReadGroupV1);
    }
  }
  return limits;
}

}  // namespace onecopy::numa
