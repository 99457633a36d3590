// Predicts how long a step takes, from what a machine can do and who holds what. Ranks wait for each other at the end of
// each phase of each layer, so there the slowest rank counts. A phase lasts as long as its memory traffic or its
// arithmetic, whichever is longer (the roofline, Williams et al. 2009); experts are expected values. What it leaves
// out: jitter between ranks, and experts whose shards are uneven among themselves. Pure; not a measurement of a run.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"

namespace onecopy::shard {

// One thread's rate in a matrix product of one weight type.
struct MatmulRate {
  struct Point {
    double tokens = 1;
    double rate = 0;  // multiply-adds a second, operands in the core's caches
  };
  std::vector<Point> points;  // ascending tokens; at least one
  // At one token with the weights in memory, the other threads idle; 0: as fast as the core reads, or as it is from
  // cache.
  double from_memory = 0;

  double RateAt(double tokens) const;  // between points: linear over the logarithm of tokens
};

// What one thread needs, in seconds, for an element of the vectors between the matrices.
struct VectorCosts {
  double norm = 0, quantize = 0, silu = 0, softmax = 0, add = 0;
  double attend = 0;  // one query head, one cached position, one dimension of the head (score and value)
};

// The place of one rank.
struct RankMachine {
  double read_bandwidth = 0;  // bytes a second of its threads together, while the other ranks read too
  int threads = 1;
  double core_share = 1;      // of a core's time that each thread gets: below 1 where ranks share cores
  double region_seconds = 0;  // to start and join the threads
};

struct MachineModel {
  std::vector<RankMachine> ranks;
  // By weight type; [1] the product whose result is summed over ranks (KernelTable's matmul_sum), [0] the other.
  std::array<std::array<MatmulRate, 2>, static_cast<size_t>(kernels::WeightType::kCount)> matmul;
  VectorCosts vectors;
  double core_read_bandwidth = 0;  // the most that one thread alone reads; 0: no limit
  // What a thread loses where the next weights are not those that follow in memory: address translation, the latency of
  // memory, and prefetchers that must find the new stream first. Hidden where all threads together saturate the memory.
  double jump_seconds = 0;
  double sync_seconds = 0;    // until a rank sees that all others have arrived
  double copy_bandwidth = 0;  // bytes a second that one thread copies from another rank's buffer
  // Several hosts: which one each rank is on, ascending; empty: all on one.
  std::vector<int> host_of_rank;
  double link_seconds = 0;    // between hosts: of a small message, one way
  double link_bandwidth = 0;  // bytes a second
};

// Where the time of a step goes, seconds.
struct StepTime {
  double weights = 0, attention = 0, collectives = 0;
  double fixed = 0;  // starting threads, norms, quantising activations, routing
  double Total() const { return weights + attention + collectives + fixed; }
  StepTime& operator+=(const StepTime& other);
};

struct StepShape {
  uint32_t tokens = 1;    // of one sequence
  uint32_t position = 0;  // of the first
  uint32_t logit_rows = 1;
};

// One step. Errors: kInternal where the machine has another number of ranks than the plan, or no rate for a type.
StepTime PredictStep(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                     const kernels::KernelTable& table, const MachineModel& machine, const StepShape& step);

struct Prediction {
  double decode_tokens_per_second = 0;
  double prefill_tokens_per_second = 0;
  StepTime decode, prefill;
};

inline constexpr uint32_t kPredictedChunk = 512;  // tokens of a prefill step

// Decode: one token at position `depth`. Prefill: the first kPredictedChunk tokens of a prompt.
Prediction Predict(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                   const kernels::KernelTable& table, const MachineModel& machine, uint32_t depth);

}  // namespace onecopy::shard
