#include "runtime/serve/service.h"

#include "runtime/base/error.h"

namespace onecopy::serve {

Service::Service(StepEngine& engine, std::vector<int32_t> end_tokens, const Options& options,
                 Metrics& metrics, std::function<void(double)> every_second)
    : options_(options),
      limits_(engine.limits()),
      scheduler_(engine, std::move(end_tokens), options.scheduler, &metrics),
      metrics_(metrics),
      every_second_(std::move(every_second)) {}

bool Service::Submit(std::vector<SequenceRequest> requests) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::kReady) return false;
  const size_t room = options_.max_waiting + options_.scheduler.max_sequences;
  if (load_.running + load_.waiting + new_.size() + requests.size() > room) return false;
  for (SequenceRequest& request : requests) new_.push_back(std::move(request));
  wake_.notify_one();
  return true;
}

void Service::TakeNew() {
  std::vector<SequenceRequest> taken;
  {
    std::unique_lock lock(mutex_);
    load_ = scheduler_.load();
    metrics_.SetLoad(load_, limits_.pages);
    if (scheduler_.idle())
      wake_.wait(lock, [&] { return !new_.empty() || state_ != State::kReady || stop_; });
    taken.swap(new_);
    for (SequenceRequest& request : taken) scheduler_.Add(std::move(request));
    load_ = scheduler_.load();
  }
}

void Service::Run() {
  try {
    Clock::time_point last = Clock::now();
    while (true) {
      TakeNew();
      if (stop_) scheduler_.FinishAll(FinishReason::kFailed, "the server is being stopped");
      if (scheduler_.idle()) {
        const std::lock_guard lock(mutex_);
        if (new_.empty() && state_ != State::kReady) return;
        continue;
      }
      scheduler_.RunStep();
      const double seconds = std::chrono::duration<double>(Clock::now() - last).count();
      if (seconds < 1 && !scheduler_.idle()) continue;
      every_second_(seconds);
      last = Clock::now();
    }
  } catch (const Error& error) {
    state_ = State::kFailed;
    const std::lock_guard lock(mutex_);
    for (SequenceRequest& request : new_) scheduler_.Add(std::move(request));
    new_.clear();
    scheduler_.FinishAll(FinishReason::kFailed, error.what());
    throw;
  }
}

void Service::Drain() {
  const std::lock_guard lock(mutex_);
  if (state_ == State::kReady) state_ = State::kDraining;
  wake_.notify_one();
}

void Service::Stop() {
  stop_ = true;
  Drain();
}

Scheduler::Load Service::load() const {
  const std::lock_guard lock(mutex_);
  Scheduler::Load load = load_;
  load.waiting += new_.size();
  return load;
}

}  // namespace onecopy::serve
