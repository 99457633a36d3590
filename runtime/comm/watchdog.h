// Ends the process where a call that cannot be given up takes too long: MPI's own start, end and collectives of set-up,
// which wait for ever for a rank that is stuck. The launcher then ends the job. Thread-safe.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace onecopy::comm {

class Watchdog {
 public:
  // what: for the message, such as "MPI_Init".
  Watchdog(double seconds, std::string what);
  // Calls it off.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace onecopy::comm
