#include "runtime/comm/mpi_wait.h"

#include <mpi.h>
#include <sched.h>
#include <time.h>

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/mpi_call.h"
#include "runtime/comm/wait.h"

namespace onecopy::comm {

void MpiWait::Await(void* request, const char* call, const char* peers, double deadline_seconds) {
  constexpr int64_t kSpinNs = 200'000;
  // A look costs some 20 us of CPU, so an idle rank spends under 1 % on looking.
  constexpr int64_t kShortSleepNs = 20'000, kLongSleepNs = 5'000'000;
  constexpr int64_t kTroubleNs = 100'000'000;
  constexpr int64_t kOwnPauseNs = 1'000'000'000;  // as in shm_sync.cc
  int64_t start_ns = NowNs(), last_ns = start_ns;
  int64_t next_check_ns = start_ns + kTroubleNs;
  for (;;) {
    int done = 0;
    CheckMpi(MPI_Test(static_cast<MPI_Request*>(request), &done, MPI_STATUS_IGNORE), call);
    const int64_t now_ns = NowNs();
    if (now_ns - last_ns > kOwnPauseNs) start_ns += now_ns - last_ns;
    last_ns = now_ns;
    const int64_t waited_ns = now_ns - start_ns;
    if (done) {
      wait_ns_ += waited_ns;
      return;
    }
    if (now_ns >= next_check_ns) {
      check_trouble_();
      next_check_ns = now_ns + kTroubleNs;
    }
    if (static_cast<double>(waited_ns) * 1e-9 > deadline_seconds) {
      throw CommError(-1, fmt::format("no answer from {} within {} s ({}); the job ends here", peers,
                                      deadline_seconds, call));
    }
    if (waited_ns < kSpinNs) {
      sched_yield();
    } else {
      // A part of the time waited so far, so that sleeping never costs much of a wait.
      const timespec pause = {0, std::clamp(waited_ns / 32, kShortSleepNs, kLongSleepNs)};
      nanosleep(&pause, nullptr);
    }
  }
}

}  // namespace onecopy::comm
