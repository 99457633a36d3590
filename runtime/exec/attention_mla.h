// Multi-head latent attention over this rank's heads (DeepSeek-V2, arXiv 2405.04434, section 2.1), absorbed: the up-
// projection of the keys is applied to the query instead, and that of the values to the weighted sum of latents, so that
// all heads attend to the one latent vector of a position: attention_gqa's core with one KV head. Chunks of prompts are
// expanded where that is cheaper (attention_mla_expanded.h).
//
// The latents lie with every rank, or every n-th page of a sequence with every n-th rank, as the plan says. In the
// second case each rank attends with the queries of all heads to the positions it has, and the partial softmaxes are
// merged (flash-decoding, Dao et al. 2023); the result then differs in rounding from that of other rank counts.
// Belongs to the thread that owns the team.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/exec/attention_gqa.h"
#include "runtime/exec/attention_mla_expanded.h"
#include "runtime/exec/decoder_context.h"
#include "runtime/exec/gathered_pair.h"
#include "runtime/exec/linear.h"
#include "runtime/exec/step_times.h"

namespace onecopy::exec {

class MlaAttention {
 public:
  // clock outlives it.
  MlaAttention(const DecoderContext& context, PhaseClock* clock);

  // x: the layer's normalised input, [tokens][hidden]; cos_sin: [tokens][qk_rope / 2][2]. Writes the step's latents into
  // the cache. Returns [tokens][heads of this rank][v_head_dim], valid until the next call. Collective over the stage;
  // errors: comm::CommError only.
  const float* Run(const proto::Step& step, uint32_t layer, Activations* x, const float* cos_sin);

 private:
  // Rows of a matrix that hold head after head, of which a product takes a part: rows [first, first + rows) of each.
  struct HeadRows {
    const kernels::PackedMatrix* w;
    uint32_t per_head, first, rows;
  };
  void Project(uint32_t layer, size_t n, Activations* x);
  void StoreLatents(const proto::Step& step, uint32_t layer, const float* cos_sin);
  void PrepareQuery(size_t n, const float* cos_sin);
  // q and out are those of the step's first token.
  void Absorbed(const proto::Step& step, uint32_t layer, const float* q, float* out);
  void AbsorbKeys(uint32_t layer, size_t n, const float* q);
  void AbsorbWholeKvB(const kernels::PackedMatrix& kv_b, size_t n, const float* q);
  void Values(uint32_t layer, size_t n, float* out);
  void HeadLinear(const HeadRows& rows, size_t n, const float* x, size_t x_cols, size_t x_stride, float* y,
                  size_t y_stride);
  void AttendByPosition(const proto::Step& step, uint32_t layer);

  const DecoderContext c_;
  PhaseClock& clock_;
  const size_t nope_, rope_, v_dim_, latent_;  // elements of a head, or of a position
  GqaAttention core_;
  ExpandedMla expanded_;
  std::vector<GatheredPair> layouts_;  // q_a, kv_a, by layer; empty ones for those of other stages
  shard::Range heads_;                 // of the layer that is being run
  Activations acts_;
  std::vector<const void*> x_rows_;
  std::vector<float*> y_rows_;
  std::vector<uint32_t> query_bounds_, maxima_bounds_;
  AlignedBuffer gathered_, lora_, q_, query_, attended_, out_, threads_;
  AlignedBuffer all_queries_, sums_, states_, maxima_;
};

}  // namespace onecopy::exec
