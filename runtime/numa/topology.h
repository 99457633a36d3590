// Topology: the NUMA nodes, cores and memory of this host, restricted to what this process may use.
// Source: Linux Documentation/ABI sysfs (devices/system/node, devices/system/cpu), proc(5) status, cgroup-v2.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace onecopy::numa {

struct Cpu {
  int id = 0;
  int package = 0;  // socket
  int core = 0;     // unique within the package; SMT siblings share it
};

struct Node {
  int id = 0;
  std::vector<Cpu> cpus;       // allowed ones, ascending; empty for a memory-only node (CXL, HBM)
  uint64_t memory_bytes = 0;   // 0 for a node without memory
  uint64_t free_bytes = 0;     // MemFree + what the page cache would give back
  bool memory_allowed = true;  // in mems_allowed
  std::vector<int> distances;  // to nodes in the order of Topology::nodes
  // What the firmware states for the CPUs nearest to the node (ACPI HMAT), bytes a second; 0 where it does not.
  uint64_t stated_read_bandwidth = 0;
};

struct Topology {
  std::string host;
  std::vector<Node> nodes;                       // ascending id, online ones
  uint64_t cgroup_limit_bytes = UINT64_MAX;      // least memory.max of this process's cgroup and its parents
  uint64_t cgroup_available_bytes = UINT64_MAX;  // the part of it that is not in use
  bool sysfs_numa = true;  // false: the kernel shows no nodes; all CPUs and memory stand as node 0

  // Null where there is no such node.
  const Node* Find(int id) const;
};

// One CPU per core, first SMT sibling first; all siblings, first ones first, when smt is true.
std::vector<int> CpuIds(const std::vector<Cpu>& cpus, bool smt);

// root: "/" on a real machine; tests give a captured tree that holds sys/ and proc/self/status.
// Errors: kInternal when not even one CPU is found.
Topology ReadTopology(const std::string& root = "/");

}  // namespace onecopy::numa
