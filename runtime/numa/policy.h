// What binding, arena and residency share: node masks, and the words for a kernel that refuses a NUMA system
// call. Internal to numa/. Thread-safe.
#pragma once

#include <string>
#include <vector>

namespace onecopy::numa {

// Bit mask for set_mempolicy(2) and mbind(2), and its length as they want it (they read one bit less than
// told).
struct NodeMask {
  explicit NodeMask(const std::vector<int>& nodes);
  std::vector<unsigned long> words;
  unsigned long max_node() const { return words.size() * 8 * sizeof(unsigned long) + 1; }
};

// Node ids with memory, of the running kernel; {0} where it shows none.
std::vector<int> MemoryNodes();

// True where it does not matter that the kernel refused (EPERM in a container, ENOSYS without CONFIG_NUMA):
// `node` is the only one with memory, so every page lies there in any case.
bool RefusalIsHarmless(int error, int node);

// "Operation not permitted; the container's seccomp profile …": the error and what to do about it.
std::string Explain(int error, int node);

}  // namespace onecopy::numa
