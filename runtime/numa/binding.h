// Binding of this process (a rank) and its threads to a node, verified after.
#pragma once

#include <string>
#include <vector>

#include "runtime/numa/topology.h"

namespace onecopy::numa {

// Binds the calling thread, and so all threads made after, to `cpus`; memory policy: MPOL_BIND to the node
// where `bind_memory`. Reads both back from the kernel. Errors: kCommunication naming node, wanted and found.
void BindProcess(const Node& node, const std::vector<int>& cpus, bool bind_memory);

// Pins the calling thread to one CPU and reads it back. Errors: as above.
void PinThread(int cpu);

// CPUs the calling thread may run on now, ascending.
std::vector<int> CurrentCpus();

}  // namespace onecopy::numa
