// ThreadTeam: the OpenMP threads of a rank. OpenMP because oneDNN shares its pool: one team, never more
// threads than cores. Belongs to the thread that made it. Work is dealt dynamically, so results must not
// depend on which thread does what; bodies must not throw.
#pragma once

#include <omp.h>

#include <cstddef>
#include <vector>

#include "runtime/numa/binding.h"

namespace onecopy::exec {

class ThreadTeam {
 public:
  // Pins thread i to cpus[i] where cpus is not empty (then it has `threads` entries).
  // Errors: as numa::PinThread.
  explicit ThreadTeam(int threads, const std::vector<int>& cpus = {});

  int size() const { return threads_; }

  // body(i, thread) for i = 0 … n - 1, in any order; returns when all are done.
  template <typename Body>
  void For(size_t n, const Body& body) const {
    if (threads_ == 1 || n <= 1) {
      for (size_t i = 0; i < n; ++i) body(i, 0);
      return;
    }
#pragma omp parallel for num_threads(threads_) schedule(dynamic)
    for (size_t i = 0; i < n; ++i) body(i, omp_get_thread_num());
  }

 private:
  int threads_;
};

}  // namespace onecopy::exec
