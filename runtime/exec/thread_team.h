// ThreadTeam: the OpenMP threads of a rank. OpenMP because oneDNN shares its pool: one team, never more
// threads than cores. Belongs to the thread that made it. Work is dealt dynamically, so results must not
// depend on which thread does what; bodies must not throw.
#pragma once

#include <omp.h>

#include <chrono>
#include <cstddef>
#include <vector>

#include "runtime/numa/binding.h"

namespace onecopy::exec {

class ThreadTeam {
 public:
  // Pins thread i to cpus[i] where cpus is not empty (then it has `threads` entries).
  // Errors: as numa::PinThread; std::system_error or bad_alloc where the system has not so many threads.
  explicit ThreadTeam(int threads, const std::vector<int>& cpus = {});

  int size() const { return threads_; }

  // body(i, thread) for i = 0 … n - 1, in any order; returns when all are done.
  template <typename Body>
  void For(size_t n, const Body& body) const {
    if (threads_ == 1 || n <= 1) {
      for (size_t i = 0; i < n; ++i) body(i, 0);
      return;
    }
    const Clock::time_point start = Clock::now();
#pragma omp parallel num_threads(threads_)
    {
      const int thread = omp_get_thread_num();
      const Clock::time_point begin = Clock::now();
#pragma omp for schedule(dynamic) nowait
      for (size_t i = 0; i < n; ++i) body(i, thread);
      busy_[thread].seconds += Seconds(begin, Clock::now());
    }
    wall_seconds_ += Seconds(start, Clock::now());
  }

  // Of all parallel Fors so far: their wall time, and the mean over threads of the time at work in them.
  struct Work {
    double wall_seconds = 0, mean_seconds = 0;
  };
  Work work() const {
    Work work = {wall_seconds_, 0};
    for (const Busy& busy : busy_) work.mean_seconds += busy.seconds / threads_;
    return work;
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct alignas(64) Busy {  // a cache line each: every thread writes its own after each For
    double seconds = 0;
  };
  static double Seconds(Clock::time_point begin, Clock::time_point end) {
    return std::chrono::duration<double>(end - begin).count();
  }

  int threads_;
  mutable std::vector<Busy> busy_;
  mutable double wall_seconds_ = 0;
};

}  // namespace onecopy::exec
