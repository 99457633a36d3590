#include "runtime/shard/pack_crew.h"

#include <omp.h>

#include <exception>
#include <utility>

namespace onecopy::shard {

void PackCrew::With(const std::function<void(PackCrew&)>& lead) {
  PackCrew crew;
  std::exception_ptr failure;
#pragma omp parallel
  {
    if (omp_get_thread_num() == 0) {
      try {  // nothing may leave a parallel region
        lead(crew);
      } catch (...) {
        failure = std::current_exception();
      }
      crew.Stop();
    } else {
      crew.Serve();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void PackCrew::Run(size_t n, const std::function<void(size_t)>& task, const std::function<void()>& first) {
  {
    const std::lock_guard lock(mutex_);
    task_ = &task;
    n_ = n;
    next_ = 0;
  }
  if (n > 1) begun_.notify_all();
  // Whoever has a task is waited for, also where `first` throws.
  const auto finish = [this] {
    TakeTasks();
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return busy_ == 0; });
    n_ = 0;
  };
  try {
    if (first) first();
  } catch (...) {
    finish();
    failure_ = nullptr;
    throw;
  }
  finish();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void PackCrew::Serve() {
  std::unique_lock lock(mutex_);
  while (true) {
    begun_.wait(lock, [this] { return stop_ || next_ < n_; });
    if (stop_) return;
    ++busy_;
    lock.unlock();
    TakeTasks();
    lock.lock();
    if (--busy_ == 0) ended_.notify_one();
  }
}

void PackCrew::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  begun_.notify_all();
}

void PackCrew::TakeTasks() {
  try {
    for (size_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < n_;) (*task_)(i);
  } catch (...) {  // nothing may leave a parallel region, nor this thread's part while others still work
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

}  // namespace onecopy::shard
