// Bounds on what something takes are bounds on its processor time: what other programs do beside a test does not count. They say
// "minutes less than a quadratic algorithm", so they are ten times what a slow machine needs; speed itself is for tests/bench.
#pragma once

#include <time.h>

namespace onecopy::test {

inline double ClockSeconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Processor seconds of the calling thread that `action` took.
template <typename Action>
double ThreadSeconds(Action action) {
  const double begin = ClockSeconds(CLOCK_THREAD_CPUTIME_ID);
  action();
  return ClockSeconds(CLOCK_THREAD_CPUTIME_ID) - begin;
}

// Of all threads of this process.
template <typename Action>
double ProcessSeconds(Action action) {
  const double begin = ClockSeconds(CLOCK_PROCESS_CPUTIME_ID);
  action();
  return ClockSeconds(CLOCK_PROCESS_CPUTIME_ID) - begin;
}

}  // namespace onecopy::test
