#include "runtime/base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace onecopy {

Progress::Progress(std::string what)
    : what_(std::move(what)),
      terminal_(isatty(STDERR_FILENO) == 1 || std::getenv("ONECOPY_TERMINAL") != nullptr),
      start_(Clock::now()) {}

void Progress::Update(uint64_t done_bytes, uint64_t total_bytes) {
  if (!terminal_ || total_bytes == 0) return;
  const auto now = Clock::now();
  if (now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  visible_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double done = static_cast<double>(done_bytes), total = static_cast<double>(total_bytes);
  const double speed = seconds > 0 ? done / seconds : 0;
  fmt::print(stderr, "\r\x1b[K{} {:3.0f} % of {:.2f} GB, {:.2f} GB/s, {:.0f} s left", what_,
             100 * done / total, total / 1e9, speed / 1e9, speed > 0 ? (total - done) / speed : 0.0);
  std::fflush(stderr);
}

void Progress::Finish() {
  if (!visible_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  visible_ = false;
}

}  // namespace onecopy
