// What a step read and computed on this rank, counted from the experts that its tokens really chose and the positions
// that they really saw. For benchmarks; costs a few additions a layer. Not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "proto/control.pb.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/exec/kv_cache.h"
#include "runtime/exec/router.h"
#include "runtime/shard/latent_forms.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::exec {

struct StepCounts {
  uint64_t weight_bytes =
      0;  // packed; a matrix that several tokens of the step use counts once; no embedding rows
  uint64_t kv_bytes = 0;  // rows of the cache read; one that several tokens of the step see counts once;
                          // of linear attention the state of each sequence
  uint64_t multiply_adds = 0;
  uint64_t experts = 0;      // distinct (layer, expert) pairs of which this rank has a part
  uint64_t expert_uses = 0;  // the same, once for each token

  void operator+=(const StepCounts& other);
};

class StepCounter {
 public:
  // The references outlive the counter. rank: in the plan.
  StepCounter(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const shard::WeightStore& store,
              const kernels::KernelTable& table, const KvCache& cache, int rank);

  // Starts a step: counts all of it but its routed experts. expanded: what is computed in the expanded form of latent
  // attention: all of the step, or no tokens.
  void Begin(const proto::Step& step, const shard::Chunk& expanded = {0, 0});
  // The routed experts of one layer of the step.
  void CountExperts(uint32_t layer, const Routing& routing);
  // Of the step begun last.
  const StepCounts& counts() const { return counts_; }

 private:
  struct Cost {
    uint64_t bytes = 0, multiply_adds = 0;  // multiply_adds: a token
    void Add(const kernels::PackedMatrix& matrix);
  };

  const proto::ModelSpec& spec_;
  const uint32_t n_experts_;
  Cost every_token_, logits_;
  std::vector<Cost> experts_;                       // [layer][expert]
  uint64_t state_bytes_ = 0, state_per_token_ = 0;  // of linear attention: of a slot; multiply-adds
  // Of each position that a token sees: bytes of a slot's cache, multiply-adds of the token.
  struct PositionCost {
    uint64_t kv_bytes = 0, multiply_adds = 0;
  };
  PositionCost full_, sliding_;        // of all layers of either kind
  uint64_t heads_ = 0;                 // over all layers
  std::vector<shard::Range> seen_[2];  // by slot, in full and in sliding layers, while a step is counted
  StepCounts counts_;
};

}  // namespace onecopy::exec
