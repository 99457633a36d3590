// Reads /proc by hand: this runs while a rank waits, and must not allocate or throw.
#include "runtime/comm/liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace onecopy::comm {
namespace {

enum class StatResult { kRead, kGone, kUnknown };

struct Stat {
  char state = '?';
  uint64_t start_time = 0;
};

StatResult ReadStat(int32_t pid, Stat* stat) {
  char path[32];
  snprintf(path, sizeof(path), "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? StatResult::kGone : StatResult::kUnknown;
  char text[1024];
  const ssize_t length = read(fd, text, sizeof(text) - 1);
  const int read_errno = errno;
  close(fd);
  if (length <= 0) return length < 0 && read_errno == ESRCH ? StatResult::kGone : StatResult::kUnknown;
  text[length] = '\0';
  // The name in field 2 may hold spaces and parentheses, so count from its last parenthesis.
  const char* at = strrchr(text, ')');
  if (at == nullptr || at[1] != ' ') return StatResult::kUnknown;
  at += 2;
  stat->state = *at;
  for (int field = 3; field < 22; ++field) {
    at = strchr(at, ' ');
    if (at == nullptr) return StatResult::kUnknown;
    ++at;
  }
  stat->start_time = strtoull(at, nullptr, 10);
  return StatResult::kRead;
}

}  // namespace

ProcessIdentity ThisProcess() {
  Stat stat;
  const int32_t pid = getpid();
  return {pid, ReadStat(pid, &stat) == StatResult::kRead ? stat.start_time : 0};
}

bool IsAlive(const ProcessIdentity& process) {
  if (kill(process.pid, 0) != 0 && errno == ESRCH) return false;
  Stat stat;
  switch (ReadStat(process.pid, &stat)) {
    case StatResult::kUnknown:
      return true;
    case StatResult::kGone:
      // Without /proc nothing is known; with it, the process ended between the two calls.
      return access("/proc/self/stat", F_OK) != 0;
    case StatResult::kRead:
      break;
  }
  if (stat.state == 'Z' || stat.state == 'X') return false;
  return process.start_time == 0 || stat.start_time == process.start_time;
}

bool IsStopped(const ProcessIdentity& process) {
  Stat stat;
  return ReadStat(process.pid, &stat) == StatResult::kRead && (stat.state == 'T' || stat.state == 't') &&
         (process.start_time == 0 || stat.start_time == process.start_time);
}

}  // namespace onecopy::comm
