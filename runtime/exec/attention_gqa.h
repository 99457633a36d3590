// Grouped-query attention over this rank's query heads (Ainslie et al. 2023), with a paged KV cache. The latents of
// multi-head latent attention are one KV head whose values are the leading part of its keys.
//
// Consecutive tokens of a sequence (a prefill) go in blocks through KernelTable::attend_block. A single token (decode), or
// one of a few, goes through KernelTable::attend, in chunks of fixed size whose partial softmaxes are merged in order
// (flash-decoding, Dao et al. 2023), so it spreads over the team. Neither result depends on the number of threads or ranks,
// nor on the other tokens of the step, but the two may differ in rounding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "proto/control.pb.h"
#include "proto/model.pb.h"
#include "runtime/exec/kv_cache.h"
#include "runtime/exec/linear.h"
#include "runtime/exec/thread_team.h"

namespace onecopy::exec {

// Positions that a token of a layer with a sliding window or attention chunks sees (0: none).
inline shard::Range SeenPositions(uint32_t position, uint32_t window, uint32_t attention_chunk) {
  const uint32_t end = position + 1;
  if (attention_chunk != 0) return {position / attention_chunk * attention_chunk, end};
  return {window != 0 && end > window ? end - window : 0, end};
}

class GqaAttention {
 public:
  static constexpr uint32_t kChunkTokens = 4 * KvCache::kPageTokens;

  GqaAttention(const proto::ModelSpec& spec, const kernels::KernelTable& table, const ThreadTeam& team);

  // Values of a head's query and of its result.
  size_t q_dim() const { return q_dim_; }
  size_t v_dim() const { return v_dim_; }

  // q: [tokens][heads.size()][q_dim()] of query heads `heads`, normalised, rotated and scaled; out: [tokens]
  // [heads.size()][v_dim()]. Token t sits at step.positions(t) of slot step.slots(t) and sees that position and all
  // before it, or those of them in the layer's sliding window or in the same attention chunk (ModelSpec); their keys
  // and values are in the cache. sinks: [spec.n_heads] logits that take part in the softmax and have no value, or
  // empty.
  void Run(const proto::Step& step, uint32_t layer, const KvCache& cache, shard::Range heads, const float* q,
           float* out, std::span<const float> sinks = {});

  // The same over those positions only that this rank's cache holds: out is the sum of values by weights relative to
  // states[tokens][heads.size()], and not divided.
  void RunPartial(const proto::Step& step, uint32_t layer, const KvCache& cache, shard::Range heads,
                  const float* q, float* out, kernels::SoftmaxState* states);

 private:
  // The query heads of one KV head: [begin, end) within `heads`.
  struct Group {
    uint32_t kv_head;  // within the rank's
    uint32_t begin, end;
  };
  // Tokens [begin, begin + n) of the step, consecutive in one sequence.
  struct Block {
    uint32_t begin, n;
    uint32_t group;
    uint64_t cost;
  };
  // What one layer is run with.
  struct Layer {
    const proto::Step& step;
    uint32_t layer;
    const KvCache& cache;
    size_t heads;  // of a token
    const float* q;
    float* out;
    uint32_t window;                 // 0: none
    uint32_t attention_chunk;        // 0: none
    const float* sinks;              // of the first head; null: none
    kernels::SoftmaxState* partial;  // null: the whole attention

    // Positions that a token sees.
    shard::Range Seen(uint32_t token) const {
      return SeenPositions(step.positions(static_cast<int>(token)), window, attention_chunk);
    }
    // Where the pages of the cache begin from which tokens of a block are computed, the first of which is given.
    uint32_t FirstPage(uint32_t token) const {
      return Seen(token).begin / KvCache::kPageTokens * KvCache::kPageTokens;
    }
  };
  void FindGroups(const KvCache& cache, uint32_t layer, shard::Range heads);
  // Sorts the step's tokens into blocks_, where those are allowed, and singles_. No block has tokens of two attention chunks.
  // The first `in_blocks` tokens into blocks, the others one by one.
  void Divide(const Layer& layer, uint32_t in_blocks);
  void RunBlocks(const Layer& layer);
  void RunSingles(const Layer& layer);
  void AttendChunk(const Layer& layer, uint32_t token, const Group& group, uint32_t chunk,
                   kernels::SoftmaxState* state, float* acc, float* scratch) const;

  const proto::ModelSpec& spec_;
  const kernels::KernelTable& table_;
  const ThreadTeam& team_;
  size_t q_dim_, v_dim_;
  std::vector<bool> sliding_;  // by layer
  // Kept from layer to layer, so that a step allocates nothing.
  std::vector<Group> groups_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> singles_;  // tokens
  std::vector<size_t> first_task_;
  std::vector<const void*> pages_;
  AlignedBuffer states_, accs_, scratch_, block_states_;
};

}  // namespace onecopy::exec
