#include "runtime/exec/attention_gqa.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/check.h"

namespace onecopy::exec {
namespace {

// Merges the softmax of `n_heads` heads over further positions into a running one.
void Merge(uint32_t n_heads, size_t dim, kernels::SoftmaxState* into, float* into_acc,
           const kernels::SoftmaxState* from, const float* from_acc) {
  for (uint32_t h = 0; h < n_heads; ++h) {
    const float max = std::max(into[h].max, from[h].max);
    const float a = std::exp(into[h].max - max), b = std::exp(from[h].max - max);
    for (size_t i = 0; i < dim; ++i)
      into_acc[h * dim + i] = into_acc[h * dim + i] * a + from_acc[h * dim + i] * b;
    into[h] = {max, into[h].sum * a + from[h].sum * b};
  }
}

}  // namespace

std::vector<GqaAttention::Group> GqaAttention::GroupsOf(const KvCache& cache, uint32_t layer,
                                                        shard::Range heads) const {
  const uint32_t per_kv_head = spec_.n_heads() / spec_.n_kv_heads();
  std::vector<Group> groups;
  for (uint32_t kv = cache.heads(layer).begin; kv < cache.heads(layer).end; ++kv)
    groups.push_back({kv - cache.heads(layer).begin, std::max(heads.begin, kv * per_kv_head) - heads.begin,
                      std::min(heads.end, (kv + 1) * per_kv_head) - heads.begin});
  return groups;
}

void GqaAttention::AttendChunk(const proto::Step& step, uint32_t layer, const KvCache& cache, int token,
                               const Group& group, uint32_t chunk, const float* q,
                               kernels::SoftmaxState* state, float* acc, float* scratch) const {
  const size_t dim = spec_.head_dim();
  const uint32_t n_heads = group.end - group.begin;
  std::fill_n(state, n_heads, kernels::SoftmaxState{-std::numeric_limits<float>::infinity(), 0.0f});
  std::fill_n(acc, n_heads * dim, 0.0f);
  const uint32_t slot = step.slots(token);
  const uint32_t end = std::min(step.positions(token) + 1, (chunk + 1) * kChunkTokens);
  for (uint32_t p = chunk * kChunkTokens; p < end; p += KvCache::kPageTokens)
    table_.attend(q + group.begin * dim, n_heads, dim, cache.Key(layer, group.kv_head, slot, p), dim,
                  cache.Value(layer, group.kv_head, slot, p), dim, dim,
                  std::min(KvCache::kPageTokens, end - p), state, acc, scratch);
}

void GqaAttention::Run(const proto::Step& step, uint32_t layer, const KvCache& cache, shard::Range heads,
                       const float* q, float* out) {
  if (heads.size() == 0) return;
  const std::vector<Group> groups = GroupsOf(cache, layer, heads);
  const size_t dim = spec_.head_dim(), row = heads.size() * dim;
  const size_t n_tokens = step.tokens_size(), n_pairs = n_tokens * groups.size();
  const size_t max_heads = spec_.n_heads() / spec_.n_kv_heads();
  const auto chunks_of = [&](size_t t) { return step.positions(static_cast<int>(t)) / kChunkTokens + 1; };

  // Few pairs: a task is one chunk. Many: a task is one pair, which goes through its chunks itself. Both
  // merge chunk after chunk, so both give the same bits.
  std::vector<size_t> first_task(n_pairs + 1, 0);
  const bool by_chunk = n_pairs < 4ul * team_.size();
  for (size_t p = 0; p < n_pairs; ++p)
    first_task[p + 1] = first_task[p] + (by_chunk ? chunks_of(p / groups.size()) : 1);
  const size_t n_tasks = first_task.back();
  const size_t n_states = by_chunk ? n_tasks : 2ul * team_.size();
  auto* states = states_.ReserveAs<kernels::SoftmaxState>(n_states * max_heads);
  auto* accs = accs_.ReserveAs<float>(n_states * max_heads * dim);
  const size_t scratch_size = max_heads * KvCache::kPageTokens;
  auto* scratch = scratch_.ReserveAs<float>(team_.size() * scratch_size);
  const auto state_at = [&](size_t i) { return states + i * max_heads; };
  const auto acc_at = [&](size_t i) { return accs + i * max_heads * dim; };

  const auto finish = [&](size_t pair, const kernels::SoftmaxState* state, const float* acc) {
    const Group& group = groups[pair % groups.size()];
    float* to = out + pair / groups.size() * row + group.begin * dim;
    for (uint32_t h = 0; h < group.end - group.begin; ++h)
      for (size_t i = 0; i < dim; ++i) to[h * dim + i] = acc[h * dim + i] / state[h].sum;
  };

  team_.For(n_tasks, [&](size_t task, int thread) {
    float* my_scratch = scratch + thread * scratch_size;
    const size_t pair =
        by_chunk ? std::upper_bound(first_task.begin(), first_task.end(), task) - first_task.begin() - 1
                 : task;
    const size_t t = pair / groups.size();
    const Group& group = groups[pair % groups.size()];
    const auto attend = [&](uint32_t chunk, size_t into) {
      AttendChunk(step, layer, cache, static_cast<int>(t), group, chunk, q + t * row, state_at(into),
                  acc_at(into), my_scratch);
    };
    if (by_chunk) return attend(static_cast<uint32_t>(task - first_task[pair]), task);
    const size_t mine = 2ul * thread;
    attend(0, mine);
    for (uint32_t c = 1; c < chunks_of(t); ++c) {
      attend(c, mine + 1);
      Merge(group.end - group.begin, dim, state_at(mine), acc_at(mine), state_at(mine + 1), acc_at(mine + 1));
    }
    finish(pair, state_at(mine), acc_at(mine));
  });
  if (!by_chunk) return;
  team_.For(n_pairs, [&](size_t pair, int) {
    const Group& group = groups[pair % groups.size()];
    const size_t first = first_task[pair];
    for (size_t i = first + 1; i < first_task[pair + 1]; ++i)
      Merge(group.end - group.begin, dim, state_at(first), acc_at(first), state_at(i), acc_at(i));
    finish(pair, state_at(first), acc_at(first));
  });
}

}  // namespace onecopy::exec
