// Gated feed-forward networks over this rank's column groups: the routed experts of a layer and the shared one beside
// them, or a dense FFN as the case of one expert. out = sum over chosen experts of down(weight * act(gate x, up x));
// this rank's part of that sum, to be all-reduced. Not thread-safe; called from the thread that owns the team.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/exec/linear.h"
#include "runtime/exec/router.h"
#include "runtime/exec/thread_team.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::exec {

class Ffn {
 public:
  struct Roles {
    proto::Weight::Role gate, up, down;
  };
  static constexpr Roles kExperts = {proto::Weight::EXPERT_GATE, proto::Weight::EXPERT_UP,
                                     proto::Weight::EXPERT_DOWN};
  static constexpr Roles kShared = {proto::Weight::SHARED_GATE, proto::Weight::SHARED_UP,
                                    proto::Weight::SHARED_DOWN};
  static constexpr Roles kDense = {proto::Weight::DENSE_GATE, proto::Weight::DENSE_UP,
                                   proto::Weight::DENSE_DOWN};

  Ffn(const proto::ModelSpec& spec, const shard::WeightStore& store, const kernels::KernelTable& table,
      const ThreadTeam& team)
      : spec_(spec), store_(store), table_(table), team_(team) {}

  // roles: of all groups of the routing but kSharedExpert's. x: the layer's normalised input; out: [x->n_rows()][hidden], overwritten; double, as ranks' parts are summed.
  void Run(const Roles& roles, uint32_t layer, const Routing& routing, Activations* x, double* out,
           size_t hidden);

 private:
  // Matrices of one chosen expert, of which this rank has some columns.
  struct Expert {
    const ExpertGroup* group;
    const kernels::PackedMatrix *gate, *up, *down;
    const kernels::PackedMatrix *gate_bias, *up_bias;  // null: none
    size_t h_stride;                                   // floats of an entry of h
    size_t h_begin;  // of its first entry in h_, in floats, and in acts_, in bytes
    size_t acts_begin;
  };
  // Rows [begin, end) of gate and up of an expert.
  struct GateUpTask {
    const Expert* expert;
    uint32_t begin, end;
  };
  // An entry of h that is wanted in another format.
  struct Entry {
    const float* h;
    uint8_t* act;
    uint32_t cols;
    kernels::ActFormat format;
  };
  void FindExperts(const Roles& roles, uint32_t layer, const Routing& routing);
  // This rank's part of a bias of an expert, or null where the layer's experts have none.
  const kernels::PackedMatrix* Bias(proto::Weight::Role role, uint32_t layer, uint32_t expert) const;
  void GateUp(const Routing& routing, Activations* x);
  // gate[n] and up[n] to the input of down, in place of gate; up is lost.
  void Activate(float* gate, float* up, size_t n) const;
  void Down(const Routing& routing, uint32_t layer, size_t n_tokens, double* out, size_t hidden);
  // Adds rows [begin, end) of the chosen experts' biases of down, times their weights.
  void AddDownBiases(const Routing& routing, uint32_t layer, uint32_t begin, uint32_t end, double* out,
                     size_t hidden) const;

  const proto::ModelSpec& spec_;
  const shard::WeightStore& store_;
  const kernels::KernelTable& table_;
  const ThreadTeam& team_;
  AlignedBuffer h_, acts_, up_, down_;
  // Kept from layer to layer, so that a step allocates nothing.
  std::vector<Expert> experts_;
  std::vector<GateUpTask> tasks_;
  std::vector<Entry> to_convert_;
  std::array<std::vector<const void*>, static_cast<size_t>(kernels::ActFormat::kCount)> x_rows_;
  std::vector<const void*> h_rows_;  // in the format of the entry's expert
  std::vector<float*> y_rows_;
  std::vector<double*> y_sum_rows_;
};

}  // namespace onecopy::exec
