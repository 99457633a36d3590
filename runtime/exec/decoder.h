// Decoder: the forward pass of a decoder-only transformer over this rank's shard, for any batch of (slot,
// position) tokens: prefill chunks, single decoded tokens, several sequences at once. The one forward pass
// for all families. Collective: every rank calls Forward with the same step. Belongs to one thread.
//
// Collectives a layer: gather of K/V rows (or of the latents), all-reduce after attention, gather of router scores, all-reduce
// after FFN, each among the ranks of the layer's stage. Between the stages of a pipeline (shard/pipeline.h) the
// residual stream goes from first rank to first rank.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "proto/control.pb.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/comm/communicator.h"
#include "runtime/exec/attention_gqa.h"
#include "runtime/exec/attention_mla.h"
#include "runtime/exec/decoder_context.h"
#include "runtime/exec/ffn.h"
#include "runtime/exec/gated_delta_net.h"
#include "runtime/exec/gathered_pair.h"
#include "runtime/exec/head_rotation.h"
#include "runtime/exec/kv_cache.h"
#include "runtime/exec/linear.h"
#include "runtime/exec/pieces.h"
#include "runtime/exec/router.h"
#include "runtime/exec/step_counts.h"
#include "runtime/exec/step_times.h"
#include "runtime/exec/thread_team.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::exec {

class Decoder {
 public:
  explicit Decoder(const DecoderContext& context);
  ~Decoder();

  // Runs the step; the cache has room for its positions. Returns logits [step.logit_rows_size()][vocab] float
  // on rank 0, valid until the next call. Errors: comm::CommError only.
  std::span<const float> Forward(const proto::Step& step);

  // What the last step read and computed on this rank.
  const StepCounts& counts() const { return counter_.counts(); }
  // Of all steps since the decoder was made or the times were reset.
  const StepTimes& times() const { return times_; }
  void ResetTimes() { times_ = {}; }

  // For tests: sees the residual stream [tokens][hidden] after the embedding (layer 0) and after each layer
  // (1 …) of this rank's stage.
  using Observer = std::function<void(uint32_t layer, std::span<const float> x)>;
  void SetObserver(Observer observer) { observer_ = std::move(observer); }

 private:
  void Embed(const proto::Step& step);
  // Rows from one stage to another. Send: on its first rank, the others have nothing to do.
  void SendRows(std::span<const float> rows, int to_stage);
  void ReceiveRows(std::span<float> rows, int from_stage);
  void Attention(const proto::Step& step, uint32_t layer);
  const float* AttendGqa(const proto::Step& step, uint32_t layer);
  void ProjectQkv(uint32_t layer, size_t n, size_t q_cols);
  void SumHeadSquares(uint32_t layer, size_t n);
  float QueryNorm(uint32_t layer, size_t token) const;
  void StoreKv(const proto::Step& step, uint32_t layer);
  void PrepareQ(const proto::Step& step, uint32_t layer);
  std::span<const float> SharedGates(uint32_t layer, size_t n);
  void FeedForward(uint32_t layer, size_t n);
  std::span<const float> Logits(const proto::Step& step);

  double WaitSeconds() const;
  void Norm(const float* x, std::span<const float> weight, size_t n);
  // x += the sum of `partial` over ranks; then the activations are x, normed with next_norm where that is not empty.
  void AllReduceAdd(size_t n, std::span<const float> next_norm);

  const DecoderContext c_;
  const int stage_, last_stage_, embedding_stage_;
  const size_t hidden_, head_dim_, v_dim_;  // of a query or key, and of a value
  HeadRotation rotation_;
  StepTimes times_;
  PhaseClock clock_{&times_};
  GqaAttention attention_;
  MlaAttention mla_;
  GatedDeltaNet delta_;
  Ffn ffn_;
  Pieces pieces_;
  StepCounter counter_;
  Observer observer_;
  struct Layout {
    // K and V, not with multi-head latent attention; with qk_norm_over_heads also the squares of each head of q.
    GatheredPair kv;
    std::vector<uint32_t> router;  // bounds of the router's rows by rank; empty in a dense layer
  };
  std::vector<Layout> layouts_;                            // by layer; empty ones for those of other stages
  std::vector<uint32_t> embedding_bounds_, logit_bounds_;  // vocabulary rows by rank of the stage
  std::vector<uint8_t> message_;
  Activations acts_;
  Routing routing_;
  AlignedBuffer x_, normed_, partial_, q_, kv_, attended_, scores_, logits_, heads_, shared_gates_,
      q_and_gates_, output_gates_;
};

}  // namespace onecopy::exec
