// The kernel side of waiting: futex(2), and the policy by which ranks spin or sleep.
#include "runtime/comm/wait.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace onecopy::comm {

WaitPolicy ChooseWaitPolicy(int ranks, int threads_per_rank, int cpus) {
  // Longer than the spread of arrivals in a decode step and than what rank 0 needs between two steps, shorter
  // than what a person would call load: an idle server stops spinning after it.
  constexpr int64_t kSpinNs = 2'000'000;
  constexpr int64_t kSleepNs = 100'000'000;
  const bool own_cores = int64_t{ranks} * threads_per_rank <= cpus;
  // Where ranks take turns on a core, yielding goes round them for a third of what sleeping and waking costs: 24 ranks on
  // 2 cores decode 380 tokens/s with no yield, 510 with one, 730 with 4, 770 with 16 and with 400.
  constexpr int kYields = 16;
  return own_cores ? WaitPolicy{kSpinNs, 4, kSleepNs} : WaitPolicy{0, kYields, kSleepNs};
}

int64_t NowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

// std::atomic<uint32_t> is a plain 32-bit word in memory (asserted in the header), which is what the kernel
// compares.
void FutexWait(const SharedWord& word, uint32_t seen, int64_t timeout_ns) {
  const timespec timeout = {timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &timeout, nullptr, 0);
}

void FutexWakeAll(const SharedWord& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace onecopy::comm
