#include "runtime/exec/recurrent_state.h"

#include "runtime/base/check.h"

namespace onecopy::exec {

RecurrentState::RecurrentState(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank,
                               numa::ArenaSource* memory, uint32_t slots) {
  for (uint32_t l = 0; l < spec.n_layers(); ++l) {
    layers_.push_back({shard::StateShape(spec, plan, l, rank), slot_floats_});
    slot_floats_ += layers_.back().shape.floats();
  }
  const uint64_t slot_bytes = slot_floats_ * sizeof(float);
  ONECOPY_CHECK(slot_bytes == plan.totals(rank).state_bytes_per_sequence());
  if (slot_bytes > 0) arena_ = memory->Make("state of linear attention", slots * slot_bytes);
}

}  // namespace onecopy::exec
