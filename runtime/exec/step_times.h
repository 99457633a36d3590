// StepTimes: where the time of this rank's steps went, cumulative. Read through Engine::times(). Written by the thread that
// owns the team; a clock is read where a phase ends, never per row.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace onecopy::exec {

enum class Phase : uint8_t {
  kAttentionMatmul,  // q, k, v, o
  kAttention,        // scores, softmax and sums of values over the KV cache
  kRouter,           // its matmul and the choice of experts
  kExperts,          // gate, up, down; a dense FFN too
  kHead,             // final norm and lm_head
  kCollective,  // exchange between ranks; with it the residual sums and norms that are made of what arrives
  kRest,        // embedding, norms, rotation, writing of keys and values
  kCount
};
inline constexpr size_t kNumPhases = static_cast<size_t>(Phase::kCount);
inline constexpr const char* kPhaseNames[kNumPhases] = {
    "attention_matmul", "attention", "router", "experts", "head", "collective", "rest"};

struct StepTimes {
  uint64_t steps = 0;
  uint64_t tokens = 0;
  std::array<double, kNumPhases> seconds = {};  // wall; their sum is the time in Decoder::Forward
  uint64_t bytes_read = 0;                      // of weights, keys and values (StepCounts)
  double wait_seconds = 0;                      // of the collective phase: until other ranks came
  // Threads' balance inside the parallel parts of all phases: their wall time, and the mean over threads of the time at
  // work in them. wall / work is 1 where no thread waits for another and starting them is free.
  double team_wall_seconds = 0;
  double team_work_seconds = 0;

  double operator[](Phase phase) const { return seconds[static_cast<size_t>(phase)]; }
  double total_seconds() const {
    double sum = 0;
    for (const double s : seconds) sum += s;
    return sum;
  }
};

// Attributes time to phases: what passes between two calls belongs to the phase that the first one named.
class PhaseClock {
 public:
  explicit PhaseClock(StepTimes* times) : times_(*times) {}
  void Start(Phase phase) {
    phase_ = phase;
    since_ = Clock::now();
  }
  void Enter(Phase phase) {
    const auto now = Clock::now();
    times_.seconds[static_cast<size_t>(phase_)] += std::chrono::duration<double>(now - since_).count();
    phase_ = phase;
    since_ = now;
  }
  void Stop() { Enter(phase_); }

 private:
  using Clock = std::chrono::steady_clock;
  StepTimes& times_;
  Phase phase_ = Phase::kRest;
  Clock::time_point since_;
};

}  // namespace onecopy::exec
