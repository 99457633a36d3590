// ThreadTeam: the threads of a rank, never more than cores. Belongs to the thread that made it, which is its thread 0. Work is
// dealt dynamically, so results must not depend on which thread does what; bodies must not throw.
//
// Own threads, because an OpenMP region ends when all of its threads have come to the end, also those that had nothing of
// it. Where another program has a core, each region then waits until the thread there runs again, some milliseconds: a
// server of two threads beside one compiler was left with 4 % of its speed. Here whoever has not begun is not waited for.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "runtime/comm/wait.h"
#include "runtime/numa/binding.h"

namespace onecopy::exec {

class ThreadTeam {
 public:
  // Pins thread i to cpus[i] where cpus is not empty (then it has `threads` entries), OpenMP's threads, of which loading
  // makes use, likewise. Idle threads spin for 2 ms and then sleep; where they are more than CPUs, or OMP_WAIT_POLICY is
  // passive, they sleep at once.
  // Errors: as numa::PinThread; std::system_error or bad_alloc where the system has not so many threads.
  explicit ThreadTeam(int threads, const std::vector<int>& cpus = {});
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return threads_; }

  // body(i, thread) for i = 0 … n - 1, in any order; returns when all are done. Not from within a body. n < 2^32.
  template <typename Body>
  void For(size_t n, const Body& body) const {
    if (threads_ == 1 || n <= 1) {
      for (size_t i = 0; i < n; ++i) body(i, 0);
      return;
    }
    Deal(
        n, [](const void* b, size_t i, int thread) { (*static_cast<const Body*>(b))(i, thread); }, &body);
  }

  // Of all Fors so far that were dealt: their wall time, and the mean over threads of the time at work in them.
  struct Work {
    double wall_seconds = 0, mean_seconds = 0;
  };
  Work work() const;

 private:
  using Clock = std::chrono::steady_clock;
  using Call = void (*)(const void* body, size_t i, int thread);
  struct alignas(comm::kLineBytes) Busy {  // a cache line each: every thread writes its own after each For
    double seconds = 0;
  };

  void StartWorkers(const std::vector<int>& cpus);
  void PinOpenMp(const std::vector<int>& cpus) const;
  void StopWorkers();
  void Deal(size_t n, Call call, const void* body) const;
  // Items until there are no more; how many.
  uint32_t TakeItems(int thread) const;
  void Serve(int thread) const;

  const int threads_;
  comm::WaitPolicy policy_;
  mutable std::vector<Busy> busy_;
  mutable double wall_seconds_ = 0;
  std::vector<std::thread> workers_;

  // What is being dealt. Written while no item is left or in work; read by whoever has taken one.
  mutable size_t n_ = 0;
  mutable Call call_ = nullptr;
  mutable const void* body_ = nullptr;
  // Items that nobody has taken; below 0 where somebody found none.
  alignas(comm::kLineBytes) mutable std::atomic<int64_t> left_{0};
  mutable comm::SleepWord begun_;     // goes up when sleepers are to look at left_ or stop_
  mutable comm::SleepWord finished_;  // items that workers have done
  std::atomic<bool> stop_{false};
};

}  // namespace onecopy::exec
