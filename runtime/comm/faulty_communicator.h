// A Communicator that does harm on schedule, to test that others notice. Wraps any other; belongs to the same
// thread. Calls are counted from 0 over Barrier, HostBarrier, AllReduceSum, AllGatherColumns, Broadcast,
// AllGatherBytes, Agree.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "runtime/comm/communicator.h"

namespace onecopy::comm {

struct Fault {
  enum class Kind {
    kDelay,    // sleep `seconds` before the call
    kVanish,   // throw RankVanished instead of the call: the thread should end without another word
    kKill,     // SIGKILL to this process instead of the call
    kThrow,    // throw Error(kInternal) instead of the call
    kFlipBit,  // flip bit `bit` of this rank's result, modulo its length (AllReduceSum, AllGatherColumns,
               // Broadcast)
  };
  uint64_t call;
  Kind kind;
  double seconds = 0;
  uint64_t bit = 0;
};

// Not an Error, so that nothing on the way handles it. Who catches it keeps the communicator until the other
// ranks are done: its destructor would tell them.
struct RankVanished : std::exception {
  const char* what() const noexcept override { return "rank vanished as its script says"; }
};

std::unique_ptr<Communicator> MakeFaultyCommunicator(std::unique_ptr<Communicator> inner,
                                                     std::vector<Fault> script);

}  // namespace onecopy::comm
