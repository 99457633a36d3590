#include "runtime/cli/stop_signals.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "runtime/base/error.h"

namespace onecopy::cli {
namespace {

// An event of each signal, and a large one for the end; a handler may do little more than write.
constexpr uint64_t kEnd = 1 << 20;
int event = -1;

void OnStopSignal(int) {
  const int saved = errno;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(event, &one, sizeof one);
  errno = saved;
}

void InstallStop(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals(std::function<void(int)> on_signal) : on_signal_(std::move(on_signal)) {
  event = eventfd(0, EFD_CLOEXEC);
  if (event < 0) Fail(ErrorCode::kInternal, "no event for signals: {}", std::strerror(errno));
  thread_ = std::thread([this] { Watch(); });
  InstallStop(OnStopSignal);
}

StopSignals::~StopSignals() {
  InstallStop(SIG_DFL);
  [[maybe_unused]] const ssize_t written = write(event, &kEnd, sizeof kEnd);
  thread_.join();
  close(event);
}

void StopSignals::Watch() {
  for (int times = 0;;) {
    uint64_t n = 0;
    if (read(event, &n, sizeof n) != sizeof n) continue;
    if (n >= kEnd) return;
    times += static_cast<int>(n);
    on_signal_(times);
  }
}

void StopSignals::Ignore() {
  InstallStop(SIG_IGN);
}

}  // namespace onecopy::cli
