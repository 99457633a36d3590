// Counters of the kernel's page allocator for a node, in pages since boot. Thread-safe.
// Source: Linux Documentation/admin-guide/numastat.rst.
#pragma once

#include <cstdint>
#include <string>

namespace onecopy::numa {

struct NumaStat {
  uint64_t hit = 0;      // wanted on this node, and got there
  uint64_t miss = 0;     // wanted elsewhere, put here since it was full there
  uint64_t foreign = 0;  // wanted here, put elsewhere since this node was full

  NumaStat& operator+=(const NumaStat& other) {
    hit += other.hit;
    miss += other.miss;
    foreign += other.foreign;
    return *this;
  }
  NumaStat operator-(const NumaStat& before) const {
    return {hit - before.hit, miss - before.miss, foreign - before.foreign};
  }
};

// Zeros where the kernel shows none. Counts all processes of the machine. root: as in ReadTopology.
NumaStat ReadNumaStat(int node, const std::string& root = "/");

}  // namespace onecopy::numa
