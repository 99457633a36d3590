// PackCrew: the rank's OpenMP threads at work for as long as a load takes, one batch of tasks after the other. They sleep
// between batches, since OpenMP's own wait at the end of each parallel loop spins, and took the CPUs from the threads
// that read: nearly half of all CPU time of a load.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>

namespace onecopy::shard {

class PackCrew {
 public:
  // lead(crew) on this thread, while the team's other threads serve the crew. Throws what lead throws.
  static void With(const std::function<void(PackCrew&)>& lead);

  // For lead: task(0) … task(n - 1) on all threads, in any order; returns when all are done. `first` is run before this
  // thread takes part. Throws, after that, what `first` or one of the tasks threw; then some tasks may be left out.
  void Run(size_t n, const std::function<void(size_t)>& task, const std::function<void()>& first = nullptr);

 private:
  void Serve();
  void Stop();
  void TakeTasks();

  std::mutex mutex_;
  std::condition_variable begun_, ended_;
  bool stop_ = false;
  size_t busy_ = 0;             // threads within the batch; guarded by mutex_
  std::exception_ptr failure_;  // of a task of the batch; guarded by mutex_
  std::atomic<size_t> next_ = 0;
  size_t n_ = 0;
  const std::function<void(size_t)>* task_ = nullptr;
};

}  // namespace onecopy::shard
