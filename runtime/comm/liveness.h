// Is the process of a peer still there? Thread-safe. Source: proc(5), /proc/pid/stat fields 3 and 22.
#pragma once

#include <cstdint>

namespace onecopy::comm {

// A pid alone may be given to another process after a death; the start time tells them apart.
struct ProcessIdentity {
  int32_t pid = 0;
  uint64_t start_time = 0;  // clock ticks since boot; 0 where /proc does not say
};

ProcessIdentity ThisProcess();

// False when the process is gone, is a zombie, or its pid now belongs to another. True in doubt: a peer is
// only declared dead on evidence.
bool IsAlive(const ProcessIdentity& process);

// True when it is there but stopped (SIGSTOP, or a debugger): it does nothing until it is continued.
bool IsStopped(const ProcessIdentity& process);

}  // namespace onecopy::comm
