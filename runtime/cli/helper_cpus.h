// CPUs for threads of rank 0 that do not compute: those of HTTP. On a CPU of a team's thread they delay the whole step, as all
// threads wait for the slowest.
#pragma once

#include <string>
#include <vector>

#include "runtime/cli/placement.h"

namespace onecopy::cli {

struct HelperCpus {
  enum class Kind {
    kShared,    // none is left: they run where rank 0 does
    kCores,     // of cores on which no rank computes
    kSiblings,  // SMT siblings of cores on which ranks compute
  };
  Kind kind = Kind::kShared;
  std::vector<int> cpus;  // ascending; empty where shared
};

// At most `most`; of rank 0's place before others, cores before siblings, and of these the last ones. Shared where CPUs are
// not assigned to threads, or no CPU of the host is free of them. Pure.
HelperCpus FindHelperCpus(const numa::Topology& topology, const PlacementWish& wish, int ranks_on_host,
                          int most);

// "on CPU 7, of a core of their own", for the log.
std::string Describe(const HelperCpus& helpers);

}  // namespace onecopy::cli
