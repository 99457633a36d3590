#include "runtime/exec/thread_team.h"

#include <omp.h>

#include <cstdlib>
#include <optional>
#include <string_view>

#include "runtime/base/check.h"
#include "runtime/base/current_error.h"

namespace onecopy::exec {
namespace {

constexpr int64_t kLongNs = int64_t{3600} * 1'000'000'000;  // nobody looks for trouble here

double Seconds(std::chrono::steady_clock::time_point begin, std::chrono::steady_clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

comm::WaitPolicy PolicyOf(int threads, const std::vector<int>& cpus) {
  const char* given = std::getenv("OMP_WAIT_POLICY");
  const bool passive =
      given != nullptr && (std::string_view(given) == "passive" || std::string_view(given) == "PASSIVE");
  const int n = passive ? 0 : static_cast<int>(cpus.empty() ? numa::CurrentCpus().size() : cpus.size());
  comm::WaitPolicy policy = comm::ChooseWaitPolicy(1, threads, n);
  policy.sleep_ns = kLongNs;
  return policy;
}

// libgomp ends the process where it gets no thread, so ask for as many first, of its stack size.
void RequireThreads(int n) {
  std::atomic<bool> go = false;
  std::vector<std::jthread> threads;
  const auto release = [&] {
    go = true;
    go.notify_all();
  };
  try {
    while (n-- > 0) threads.emplace_back([&] { go.wait(false); });
  } catch (...) {
    release();
    throw;
  }
  release();
}

void Wake(comm::SleepWord* word) {
  if (word->sleepers.load(std::memory_order_seq_cst) == 0) return;
  word->value.fetch_add(1, std::memory_order_seq_cst);
  comm::FutexWakeAll(word->value);
}

}  // namespace

ThreadTeam::ThreadTeam(int threads, const std::vector<int>& cpus)
    : threads_(threads), policy_(PolicyOf(threads, cpus)), busy_(threads) {
  ONECOPY_CHECK(threads >= 1 && (cpus.empty() || cpus.size() == static_cast<size_t>(threads)));
  omp_set_dynamic(0);
  omp_set_num_threads(threads);
  try {
    StartWorkers(cpus);
    RequireThreads(threads - 1);
    if (!cpus.empty()) PinOpenMp(cpus);
  } catch (...) {
    StopWorkers();
    throw;
  }
}

ThreadTeam::~ThreadTeam() {
  StopWorkers();
}

void ThreadTeam::StartWorkers(const std::vector<int>& cpus) {
  std::vector<std::optional<Error>> errors(threads_);
  std::atomic<int> ready = 1;  // thread 0
  for (int t = 1; t < threads_; ++t) {
    workers_.emplace_back([this, t, &cpus, &errors, &ready] {
      try {  // nothing may leave a thread
        if (!cpus.empty()) numa::PinThread(cpus[t]);
      } catch (...) {
        errors[t] = CurrentError("binding threads");
      }
      ready.fetch_add(1);
      ready.notify_one();
      Serve(t);
    });
  }
  for (int n = ready; n < threads_; n = ready) ready.wait(n);
  for (const auto& error : errors)
    if (error) throw *error;
}

void ThreadTeam::PinOpenMp(const std::vector<int>& cpus) const {
  std::vector<std::optional<Error>> errors(threads_);
#pragma omp parallel num_threads(threads_)
  {
    const int t = omp_get_thread_num();
    try {  // nothing may leave a parallel region
      numa::PinThread(cpus[t]);
    } catch (...) {
      errors[t] = CurrentError("binding threads");
    }
  }
  for (const auto& error : errors)
    if (error) throw *error;
}

void ThreadTeam::StopWorkers() {
  stop_.store(true, std::memory_order_seq_cst);
  Wake(&begun_);
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadTeam::Deal(size_t n, Call call, const void* body) const {
  ONECOPY_CHECK(n <= UINT32_MAX && call_ == nullptr);
  const Clock::time_point start = Clock::now();
  n_ = n;
  call_ = call;
  body_ = body;
  finished_.value.store(0, std::memory_order_relaxed);
  left_.store(static_cast<int64_t>(n), std::memory_order_seq_cst);
  Wake(&begun_);
  const auto others = static_cast<uint32_t>(n) - TakeItems(0);
  comm::WaitUntil(
      policy_, &finished_, [&] { return finished_.value.load(std::memory_order_seq_cst) == others; }, [] {});
  call_ = nullptr;
  wall_seconds_ += Seconds(start, Clock::now());
}

uint32_t ThreadTeam::TakeItems(int thread) const {
  uint32_t done = 0;
  Clock::time_point begin;
  while (left_.load(std::memory_order_relaxed) > 0) {
    const int64_t left = left_.fetch_sub(1, std::memory_order_acquire);
    if (left <= 0) break;
    if (done++ == 0) begin = Clock::now();
    // What is dealt stays until this one has been reported.
    call_(body_, n_ - static_cast<size_t>(left), thread);
  }
  if (done > 0) busy_[thread].seconds += Seconds(begin, Clock::now());
  return done;
}

void ThreadTeam::Serve(int thread) const {
  const auto wanted = [this] {
    return left_.load(std::memory_order_seq_cst) > 0 || stop_.load(std::memory_order_seq_cst);
  };
  for (;;) {
    comm::WaitUntil(policy_, &begun_, wanted, [] {});
    if (stop_.load(std::memory_order_seq_cst)) return;
    const uint32_t done = TakeItems(thread);
    if (done == 0) continue;
    finished_.value.fetch_add(done, std::memory_order_seq_cst);
    if (finished_.sleepers.load(std::memory_order_seq_cst) > 0) comm::FutexWakeAll(finished_.value);
  }
}

ThreadTeam::Work ThreadTeam::work() const {
  Work work = {wall_seconds_, 0};
  for (const Busy& busy : busy_) work.mean_seconds += busy.seconds / threads_;
  return work;
}

}  // namespace onecopy::exec
