// A progress line on stderr, shown only where stderr is a terminal, or leads to one through a launcher's pipe, which
// launch/onecopy says by ONECOPY_TERMINAL. Belongs to one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace onecopy {

class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress() { Finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Redraws at most ten times a second: "loading  62 % of 4.10 GB, 2.31 GB/s, 1 s left".
  void Update(uint64_t done_bytes, uint64_t total_bytes);
  // Removes the line.
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;
  const std::string what_;
  const bool terminal_;
  const Clock::time_point start_;
  Clock::time_point drawn_;
  bool visible_ = false;
};

}  // namespace onecopy
