// The expanded form of latent attention (shard/latent_forms.h), for chunks of prompts. Of kExpandedPositions positions at a
// time keys and values of this rank's heads are made of the cache's latents, in pages as a cache of the table's own type has
// them, and attended to through KernelTable::attend_block; the partial softmaxes of such blocks are merged in their order
// (flash-decoding, Dao et al. 2023). Memory: shard::ExpandedBytes, whatever the depth, and some per thread.
//
// The result does not depend on the number of threads or ranks. A token's differs in rounding from that of the absorbed
// form, and the form depends on the tokens of the chunk; within one form, where a prompt is cut changes nothing.
// Belongs to the thread that owns the team.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/exec/decoder_context.h"
#include "runtime/exec/linear.h"
#include "runtime/exec/step_times.h"
#include "runtime/shard/latent_forms.h"

namespace onecopy::exec {

class ExpandedMla {
 public:
  // clock outlives it.
  ExpandedMla(const DecoderContext& context, PhaseClock* clock);

  // Of the step's prompt tokens. q: [tokens][heads.size()][qk_nope + qk_rope] of query heads `heads`, rotated and scaled; out:
  // [tokens][heads.size()][v_head_dim]. The step is one for which ExpandedChunk gives a chunk; its latents are in the cache.
  void Run(const proto::Step& step, uint32_t layer, shard::Range heads, const float* q, float* out);

 private:
  // Positions [begin, begin + n) of a sequence, in these buffers.
  struct Block {
    uint32_t slot, begin, n;
  };
  // What a layer is run with.
  struct Layer {
    uint32_t layer;
    size_t heads;
    shard::Chunk chunk;
    const float* q;
    float* out;
  };
  void PackKeys(const Layer& layer);
  void Expand(const Layer& layer, const Block& block);
  void LoadLatents(const Layer& layer, const Block& block);
  void Attend(const Layer& layer, const Block& block);
  void AttendTokens(const Layer& layer, const Block& block, size_t head, size_t token, size_t n, int thread);
  uint8_t* KeyPage(size_t head, size_t page) const;
  uint8_t* ValuePage(size_t head, size_t page) const;

  const DecoderContext c_;
  const kernels::CacheKernels& cache_;  // of the keys and values that are made
  PhaseClock& clock_;
  const size_t nope_, rope_, v_dim_, latent_;
  const size_t key_bytes_, value_bytes_;  // of a position and head
  const size_t row_floats_;               // of a position in latents_
  Activations acts_;
  std::vector<float*> y_rows_;
  std::vector<const void*> k_pages_, v_pages_;  // [heads][pages of a block]
  AlignedBuffer panels_, latents_, keys_, values_, products_, states_, partial_, partial_states_, scratch_;
};

// The chunk that a step's prompt tokens are, where that is to be expanded; else one without tokens. The same on all ranks.
shard::Chunk ExpandedChunk(const DecoderContext& context, const proto::Step& step);

}  // namespace onecopy::exec
