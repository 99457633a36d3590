// What the blocks of a forward pass stand on: references that outlive them.
#pragma once

#include <cstddef>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/comm/communicator.h"
#include "runtime/exec/kv_cache.h"
#include "runtime/exec/recurrent_state.h"
#include "runtime/exec/thread_team.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::exec {

struct DecoderContext {
  comm::Communicator& all;    // those that the plan divides the model among
  comm::Communicator& stage;  // those of this rank's stage: with one stage, `all` itself
  const proto::ModelSpec& spec;
  const proto::ShardPlan& plan;
  const shard::WeightStore& store;
  const kernels::KernelTable& table;
  const ThreadTeam& team;
  KvCache& cache;
  RecurrentState& states;
  bool cut_anywhere;  // EngineOptions
};

// x *= a factor of the spec, of which 0 says that there is none.
template <typename T>
void Scale(float factor, size_t n, T* x) {
  if (factor == 0) return;
  for (size_t i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace onecopy::exec
