// Grouped-query attention over this rank's query heads (Ainslie et al. 2023), with a paged KV cache.
//
// Consecutive tokens of a sequence (a prefill) go in blocks through KernelTable::attend_block. A single token (decode), or one
// of a few, goes through KernelTable::attend, in chunks of fixed size whose partial softmaxes are merged in order (flash-decoding,
// Dao et al. 2023), so it spreads over the team. Neither result depends on the number of threads or ranks, nor on the
// other tokens of the step, but the two may differ in rounding.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "proto/control.pb.h"
#include "proto/model.pb.h"
#include "runtime/exec/kv_cache.h"
#include "runtime/exec/linear.h"
#include "runtime/exec/thread_team.h"

namespace onecopy::exec {

class GqaAttention {
 public:
  static constexpr uint32_t kChunkTokens = 4 * KvCache::kPageTokens;
  // So many consecutive tokens of a sequence, or fewer, do not make a block: each has the bits that it has alone, and a
  // guess that is verified gets the logits of plain decoding.
  static constexpr uint32_t kMostTokensAlone = 8;

  GqaAttention(const proto::ModelSpec& spec, const kernels::KernelTable& table, const ThreadTeam& team)
      : spec_(spec), table_(table), team_(team) {}

  // q: [tokens][heads.size() * head_dim] of query heads `heads`, normalised, rotated and scaled; out: the
  // same shape. Token t sits at step.positions(t) of slot step.slots(t) and sees that position and all before
  // it; their keys and values are in the cache.
  void Run(const proto::Step& step, uint32_t layer, const KvCache& cache, shard::Range heads, const float* q,
           float* out);

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
    size_t row;  // floats of a token in q and out
    const float* q;
    float* out;
  };
  void FindGroups(const KvCache& cache, uint32_t layer, shard::Range heads);
  // Sorts the step's tokens into blocks_ and singles_.
  void Divide(const proto::Step& step);
  void RunBlocks(const Layer& layer);
  void RunSingles(const Layer& layer);
  void AttendChunk(const Layer& layer, uint32_t token, const Group& group, uint32_t chunk,
                   kernels::SoftmaxState* state, float* acc, float* scratch) const;

  const proto::ModelSpec& spec_;
  const kernels::KernelTable& table_;
  const ThreadTeam& team_;
  // Kept from layer to layer, so that a step allocates nothing.
  std::vector<Group> groups_;
  std::vector<Block> blocks_;
  std::vector<uint32_t> singles_;  // tokens
  std::vector<size_t> first_task_;
  std::vector<const void*> pages_;
  AlignedBuffer states_, accs_, scratch_;
};

}  // namespace onecopy::exec
