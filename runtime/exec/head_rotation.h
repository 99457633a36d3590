// What a token's position does to its query and key heads, layer by layer: rotation by the angles of the layer's base, or none
// in a layer without positions (NoPE); then Llama 4's norm without weights, or a temperature that grows with the position.
// Angles are made once a step. Not thread-safe; between SetStep calls its const functions are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "proto/control.pb.h"
#include "proto/model.pb.h"
#include "runtime/exec/linear.h"
#include "runtime/exec/rope.h"
#include "runtime/exec/thread_team.h"

namespace onecopy::exec {

class HeadRotation {
 public:
  // factors: the weight ROPE_FACTORS, or empty. spec and table outlive it.
  HeadRotation(const proto::ModelSpec& spec, const kernels::KernelTable& table,
               std::span<const float> factors);

  // Makes the angles of the step's tokens.
  void SetStep(const proto::Step& step, const ThreadTeam& team);
  // Of the layer, as rope.h's RopeAngles writes them: [tokens][rope_dims / 2][2].
  const float* CosSin(uint32_t layer) const;

  // head: [head_dim], of the step's token-th token; normalised by weights before, where the model does. The query is scaled
  // for the softmax too.
  void Query(uint32_t layer, size_t token, float* head) const;
  void Key(uint32_t layer, size_t token, float* head) const;

 private:
  void Turn(uint32_t layer, size_t token, float* head) const;

  const proto::ModelSpec& spec_;
  const kernels::KernelTable& table_;
  const RopeFn rope_;
  const size_t head_dim_, half_;
  const float softmax_scale_;
  std::vector<bool> rotated_;  // by layer
  std::vector<bool> sliding_;  // by layer: whether it has a base of its own
  std::vector<float> ones_;    // the weights of a norm without
  std::vector<float> frequencies_, sliding_frequencies_;
  std::vector<float> temperature_;  // by token; empty without
  AlignedBuffer cos_sin_, sliding_cos_sin_;
};

}  // namespace onecopy::exec
