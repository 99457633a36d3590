// RecurrentState: what sequences leave behind in the layers of linear attention of this rank, whatever their length: the
// state of each value head, and the last inputs of the convolution. A slot's state belongs to the sequence that was last
// begun there; it goes forward only: what a token did to it cannot be undone. Not thread-safe; the memory may be read and
// written by the thread team between calls.
//
// Layout, float: [slot][layer][value head of this rank][linear_value_head_dim / kDeltaValues][linear_key_head_dim]
// [kDeltaValues], behind the heads [linear_conv_kernel - 1, oldest first][channels of this rank: q, k, v].
#pragma once

#include <cstdint>
#include <vector>

#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/numa/arena.h"
#include "runtime/shard/plan.h"

namespace onecopy::exec {

class RecurrentState {
 public:
  // Room for `slots` sequences, taken from `memory`; nothing for a model without such layers. Errors: as numa::Arena.
  RecurrentState(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank,
                 numa::ArenaSource* memory, uint32_t slots);

  const shard::LinearStateShape& shape(uint32_t layer) const { return layers_[layer].shape; }
  float* Heads(uint32_t layer, uint32_t slot) const { return Slot(slot) + layers_[layer].offset; }
  float* Convolution(uint32_t layer, uint32_t slot) const {
    const Layer& l = layers_[layer];
    return Heads(layer, slot) + l.shape.value_heads.size() * l.shape.head_floats;
  }

  uint64_t bytes() const { return arena_.bytes(); }
  const numa::Arena& arena() const { return arena_; }

 private:
  struct Layer {
    shard::LinearStateShape shape;
    uint64_t offset;  // in a slot, in floats
  };
  float* Slot(uint32_t slot) const { return reinterpret_cast<float*>(arena_.data()) + slot * slot_floats_; }

  std::vector<Layer> layers_;
  uint64_t slot_floats_ = 0;
  numa::Arena arena_;
};

}  // namespace onecopy::exec
