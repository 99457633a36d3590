// Binding of this process (a rank) and its threads to a node, verified after.
#pragma once

#include <string>
#include <vector>

namespace onecopy::numa {

// Binds the calling thread, and so all threads made after, to `cpus`; memory policy: MPOL_BIND to `nodes` unless that
// is empty. What the process has already stays where it is. Reads CPUs and policy back from the kernel.
// Errors: kCommunication naming nodes, wanted and found.
void BindProcess(const std::vector<int>& cpus, const std::vector<int>& nodes);

// Pins the calling thread to one CPU and reads it back. Errors: as above.
void PinThread(int cpu);

// Lets the calling thread run on any of `cpus`, which its maker may have been pinned to one of. Errors: as above.
void LetThreadRunOn(const std::vector<int>& cpus);

// CPUs the calling thread may run on now, ascending.
std::vector<int> CurrentCpus();

}  // namespace onecopy::numa
