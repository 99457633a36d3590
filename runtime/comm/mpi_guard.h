// Watches over calls of MPI that wait for all ranks without a deadline: its start and end, the making of windows and
// groups. Where a rank of this host is stopped meanwhile, or nothing comes for very long, the process says so and ends,
// which makes the launcher end the job. A thread of its own does this; it calls no MPI.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

namespace onecopy::comm {

class MpiGuard {
 public:
  // what: for the message, such as "starting MPI". stopped_seconds: for how long a rank may be stopped;
  // most_seconds: for how long the calls until the guard's destruction may wait.
  MpiGuard(const char* what, double stopped_seconds, double most_seconds);
  ~MpiGuard();
  MpiGuard(const MpiGuard&) = delete;
  MpiGuard& operator=(const MpiGuard&) = delete;

 private:
  void Watch();

  const char* const what_;
  const double stopped_seconds_, most_seconds_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool end_ = false;     // guarded by mutex_
  std::thread watcher_;  // last: it uses all above
};

}  // namespace onecopy::comm
