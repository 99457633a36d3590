// What the measured steps read and computed and where their time went, put together from what every rank noted.
#pragma once

#include <array>
#include <vector>

#include "runtime/cli/bench_steps.h"
#include "runtime/comm/communicator.h"
#include "runtime/exec/engine.h"

namespace onecopy::cli {

// What one rank notes of a step.
struct StepNote {
  exec::StepCounts counts;
  exec::StepTimes times;  // of all steps up to this one
};
using StepNotes = std::vector<StepNote>;

// Means over the timed steps of a row, sums over ranks.
struct RowWork {
  double bytes_per_token = 0;  // weights and cache that the step read, over its tokens
  double multiply_adds_per_token = 0;
  double experts_per_step = 0;  // distinct (layer, expert) pairs
  // Where the ranks' time went, as shares of it: by phase (exec::Phase), collectives without the waiting for other ranks,
  // which is `imbalance`. The sum of all is 1.
  std::array<double, exec::kNumPhases> phases = {};
  double imbalance = 0;
  double idle_threads =
      0;  // share of the time in parallel loops that a thread waits there for others of its rank
};

// Collective. Every rank's notes on every rank.
std::vector<StepNotes> GatherNotes(comm::Communicator& comm, const StepNotes& mine);

RowWork WorkOf(const BenchRow& row, const std::vector<StepNotes>& by_rank);

}  // namespace onecopy::cli
