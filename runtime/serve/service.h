// Service: the loop between steps. Requests come from any thread; the engine's thread runs them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "runtime/serve/metrics.h"
#include "runtime/serve/scheduler.h"

namespace onecopy::serve {

class Service {
 public:
  struct Options {
    Scheduler::Options scheduler;
    size_t max_waiting = 256;  // sequences, beside those that run
  };
  enum class State { kReady, kDraining, kFailed };

  // The references outlive it. every_second: called on the engine's thread while sequences run, with the seconds since its
  // last call.
  Service(StepEngine& engine, std::vector<int32_t> end_tokens, const Options& options, Metrics& metrics,
          std::function<void(double seconds)> every_second);

  // Any thread. All of the sequences or none; false: there are too many, or it no longer takes any (state()). Each has a
  // prompt shorter than capacity().
  bool Submit(std::vector<SequenceRequest> requests);
  // The engine's thread: until drained. Errors: as exec::Engine::Forward, after all sequences were told.
  void Run();
  // From any thread: takes no more sequences; Run returns when those that it has are done.
  void Drain();
  // The same, and ends them now. Returns at once.
  void Stop();

  State state() const { return state_; }
  uint32_t capacity() const { return scheduler_.capacity(); }
  uint32_t vocab() const { return limits_.vocab; }
  uint64_t pages() const { return limits_.pages; }
  uint32_t page_tokens() const { return limits_.page_tokens; }
  Scheduler::Load load() const;

 private:
  void TakeNew();

  const Options options_;
  const StepEngine::Limits limits_;
  Scheduler scheduler_;
  Metrics& metrics_;
  const std::function<void(double)> every_second_;
  std::atomic<State> state_{State::kReady};
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;  // of what follows
  std::condition_variable wake_;
  std::vector<SequenceRequest> new_;
  Scheduler::Load load_ = {};
};

}  // namespace onecopy::serve
