// What the control groups of this process allow it: memory, and CPU time. The kernel kills who takes more
// memory and throttles who takes more time, so both are read before anything is planned. Thread-safe. Source:
// Linux Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst; cgroups(7) for /proc/self/cgroup.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace onecopy::numa {

struct CgroupLimits {
  uint64_t memory_bytes = UINT64_MAX;     // UINT64_MAX: no limit
  uint64_t available_bytes = UINT64_MAX;  // what its groups do not use yet; page cache counts as free
  double cpus = std::numeric_limits<double>::infinity();  // CPU seconds per second
};

// The least limits of this process's groups and all their parents, version 2 and version 1. `root` as in
// ReadTopology.
CgroupLimits ReadCgroupLimits(const std::string& root = "/");

}  // namespace onecopy::numa
