// Linear attention by the gated delta rule (Gated DeltaNet, Yang et al. 2024, arXiv 2412.06464; as in Qwen3-Next), up to
// the output projection. q, k and v pass a causal convolution over each channel and SiLU; q and k are normalised; each
// value head's state decays, is written to and read (kernels::GatedDelta); what is read is normalised and gated by z.
//
// A rank has the states of its value heads, and with them their rows of v and z. q and k belong to the value heads of all
// ranks: each rank computes and convolves some rows of them, wherever they lie in heads, and one gather gives them, with
// beta and alpha, to all. So value heads need not lie in the order of key heads, and ranks may be more than key heads.
//
// Token goes after token: a sequence has the same bits however it is cut into steps, whatever stands beside it, and on any
// number of ranks. Not thread-safe; called from the thread that owns the team.
#pragma once

#include <vector>

#include "proto/control.pb.h"
#include "runtime/exec/decoder_context.h"
#include "runtime/exec/linear.h"
#include "runtime/exec/step_times.h"

namespace onecopy::exec {

class GatedDeltaNet {
 public:
  // clock outlives it. Unpacks the filters of the convolution, a few floats a channel.
  GatedDeltaNet(const DecoderContext& context, PhaseClock* clock);

  // Collective among the ranks of the stage. x: the layer's normalised input. Returns [tokens][values of this rank's heads],
  // the input of LINEAR_O, valid until the next call. Tokens at position 0 begin a sequence anew; others continue what the
  // slot holds. Errors: comm::CommError only.
  const float* Run(const proto::Step& step, uint32_t layer, Activations* x);

 private:
  // Where a rank's rows lie in a gathered row: its q, its k, its beta, its alpha (or beta_alpha), rank after rank.
  struct Layout {
    std::vector<uint32_t> q, k, bounds;           // by rank
    std::vector<uint32_t> beta_cols, alpha_cols;  // of the gathered row, by value head of this rank
    std::vector<uint32_t> key_heads;              // that this rank's value heads need, ascending
    std::vector<uint32_t> key_of_value;           // index into those, by value head of this rank
    std::vector<float> filters;                   // [linear_conv_kernel][channels of this rank]
    uint32_t beta_rows = 0;                       // of this rank, of LINEAR_BETA or LINEAR_BETA_ALPHA
  };
  // Tokens [begin, begin + n) of the step, consecutive in one sequence.
  struct Stretch {
    uint32_t slot, begin, n;
  };
  // Stretches [begin, end), all of one slot.
  struct Sequence {
    uint32_t begin, end;
    bool fresh;  // it begins in this step
  };

  Layout MakeLayout(uint32_t layer) const;
  void MakeFilters(uint32_t layer, Layout* layout) const;
  void FindSequences(const proto::Step& step);
  void Project(uint32_t layer, Activations* x);
  // Both for the channels (values) of one task.
  void Convolve(uint32_t layer, const Sequence& sequence, uint32_t first_channel);
  void UpdateState(uint32_t layer, const Sequence& sequence, uint32_t head, uint32_t first_value);
  // q and k of the key heads that are needed, decay and beta.
  void PrepareHeads(uint32_t layer, size_t token);
  void Gate(uint32_t layer, size_t token);

  const DecoderContext c_;
  PhaseClock* clock_;
  const int stage_;
  const uint32_t key_dim_, value_dim_, kernel_;
  std::vector<Layout> layouts_;  // by layer; empty ones for others than linear layers of this stage
  std::vector<Stretch> stretches_;
  std::vector<Sequence> sequences_;
  std::vector<Product> products_;
  AlignedBuffer gathered_;  // [tokens][q, k, beta, alpha of all ranks]
  AlignedBuffer v_, z_;     // [tokens][values of this rank's heads]
  AlignedBuffer keys_;      // [tokens][key heads][q, k]
  AlignedBuffer gates_;     // [tokens][value heads][decay, beta]
};

}  // namespace onecopy::exec
