// What the measured steps read and computed and where their time went, put together from what every rank noted.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/cli/bench_steps.h"
#include "runtime/comm/communicator.h"
#include "runtime/exec/engine.h"

namespace onecopy::cli {

// What one rank notes of a step.
struct StepNote {
  exec::StepCounts counts;
};
using StepNotes = std::vector<StepNote>;

// Means over the timed steps of a row, sums over ranks.
struct RowWork {
  double bytes_per_token = 0;  // weights and cache that the step read, over its tokens
  double multiply_adds_per_token = 0;
  double experts_per_step = 0;  // distinct (layer, expert) pairs
};

// Collective. Every rank's notes on every rank.
std::vector<StepNotes> GatherNotes(comm::Communicator& comm, const StepNotes& mine);

RowWork WorkOf(const BenchRow& row, const std::vector<StepNotes>& by_rank);

}  // namespace onecopy::cli
