#include "runtime/comm/watchdog.h"

#include <stdio.h>
#include <unistd.h>

#include <chrono>

#include "runtime/base/error.h"
#include "runtime/base/log.h"

namespace onecopy::comm {

Watchdog::Watchdog(double seconds, std::string what)
    : thread_([this, seconds, what = std::move(what)] {
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return done_; })) return;
        log::error("{} has not ended within {} s: some rank is stuck or gone; the job ends here", what,
                   seconds);
        fflush(nullptr);
        // MPI_Abort belongs to the main thread, which is in the call that does not end.
        _exit(static_cast<int>(ErrorCode::kCommunication));
      }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

}  // namespace onecopy::comm
