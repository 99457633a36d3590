// Grouped-query attention over this rank's query heads (Ainslie et al. 2023), with a paged KV cache. Long
// contexts are cut into chunks of fixed size whose partial softmaxes are merged in order, so one token's
// attention spreads over the team and the result does not depend on the number of threads.
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
  static constexpr uint32_t kChunkTokens = 8 * KvCache::kPageTokens;

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
  std::vector<Group> GroupsOf(const KvCache& cache, uint32_t layer, shard::Range heads) const;
  void AttendChunk(const proto::Step& step, uint32_t layer, const KvCache& cache, int token,
                   const Group& group, uint32_t chunk, const float* q, kernels::SoftmaxState* state,
                   float* acc, float* scratch) const;

  const proto::ModelSpec& spec_;
  const kernels::KernelTable& table_;
  const ThreadTeam& team_;
  AlignedBuffer states_, accs_, scratch_;
};

}  // namespace onecopy::exec
