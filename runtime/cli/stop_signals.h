// StopSignals: SIGINT and SIGTERM as calls of a function rather than the end. One at a time in a process.
#pragma once

#include <functional>
#include <thread>

namespace onecopy::cli {

class StopSignals {
 public:
  // on_signal: called on a thread of its own with how many have come so far, 1 at first. Until destruction.
  // Errors: kInternal where the system gives no event.
  explicit StopSignals(std::function<void(int times)> on_signal);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // For ranks that follow another one, which is told: the signals do nothing.
  static void Ignore();

 private:
  void Watch();

  const std::function<void(int)> on_signal_;
  std::thread thread_;
};

}  // namespace onecopy::cli
