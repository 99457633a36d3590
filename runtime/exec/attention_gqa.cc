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

void GqaAttention::FindGroups(const KvCache& cache, uint32_t layer, shard::Range heads) {
  const uint32_t per_kv_head = spec_.n_heads() / spec_.n_kv_heads();
  groups_.clear();
  for (uint32_t kv = cache.heads(layer).begin; kv < cache.heads(layer).end; ++kv)
    groups_.push_back({kv - cache.heads(layer).begin, std::max(heads.begin, kv * per_kv_head) - heads.begin,
                       std::min(heads.end, (kv + 1) * per_kv_head) - heads.begin});
}

void GqaAttention::Divide(const proto::Step& step) {
  // Rows (a row is a token and head) of a block: at most so many that their sums stay in the second-level cache, at least
  // so many that the conversion of a page is a small part of the work on it.
  constexpr uint64_t kMostRows = 256, kLeastRows = 64;
  constexpr size_t kTasksPerThread = 4;
  const auto n_tokens = static_cast<uint32_t>(step.tokens_size());
  uint32_t n_heads = 1;  // of the largest group
  for (const Group& group : groups_) n_heads = std::max(n_heads, group.end - group.begin);
  const uint64_t even = n_tokens * groups_.size() / (kTasksPerThread * team_.size());
  const auto per_block =
      static_cast<uint32_t>(std::clamp(even, DivUp(kLeastRows, n_heads), DivUp(kMostRows, n_heads)));

  blocks_.clear();
  singles_.clear();
  for (uint32_t begin = 0, end; begin < n_tokens; begin = end) {
    const auto follows = [&](int t) {
      return step.slots(t) == step.slots(t - 1) && step.positions(t) == step.positions(t - 1) + 1;
    };
    for (end = begin + 1; end < n_tokens && follows(static_cast<int>(end));) ++end;
    if (end - begin <= kMostTokensAlone) {
      for (uint32_t t = begin; t < end; ++t) singles_.push_back(t);
      continue;
    }
    for (uint32_t t = begin; t < end; t += per_block) {
      const uint32_t n = std::min(per_block, end - t);
      for (uint32_t g = 0; g < groups_.size(); ++g)
        blocks_.push_back({t, n, g,
                           uint64_t{groups_[g].end - groups_[g].begin} * n *
                               (step.positions(static_cast<int>(t)) + uint64_t{n})});
    }
  }
  // The longest first, so that threads end together.
  std::stable_sort(blocks_.begin(), blocks_.end(),
                   [](const Block& a, const Block& b) { return a.cost > b.cost; });
}

void GqaAttention::RunBlocks(const Layer& layer) {
  const size_t dim = spec_.head_dim();
  const auto block_of = [&](const Block& b) {
    const Group& group = groups_[b.group];
    kernels::AttendBlock block = {};
    block.n_tokens = b.n;
    block.n_heads = group.end - group.begin;
    block.head_dim = block.v_dim = dim;
    block.first_position = layer.step.positions(static_cast<int>(b.begin));
    block.q = layer.q + b.begin * layer.row + group.begin * dim;
    block.out = layer.out + b.begin * layer.row + group.begin * dim;
    block.q_stride = block.out_stride = layer.row;
    return block;
  };
  size_t scratch_bytes = 0, n_pages = 0;
  for (const Block& b : blocks_) {
    const kernels::AttendBlock block = block_of(b);
    scratch_bytes = std::max(scratch_bytes, RoundUp(table_.attend_block_bytes(block), 64));
    n_pages = std::max<size_t>(n_pages, DivUp(block.first_position + b.n, KvCache::kPageTokens));
  }
  uint8_t* scratch = scratch_.Reserve(team_.size() * scratch_bytes);
  pages_.resize(team_.size() * 2 * n_pages);
  team_.For(blocks_.size(), [&](size_t task, int thread) {
    const Block& b = blocks_[task];
    kernels::AttendBlock block = block_of(b);
    const void** k_pages = pages_.data() + thread * 2 * n_pages;
    const void** v_pages = k_pages + n_pages;
    const uint32_t slot = layer.step.slots(static_cast<int>(b.begin)), kv_head = groups_[b.group].kv_head;
    for (uint32_t p = 0; p < block.first_position + b.n; p += KvCache::kPageTokens) {
      k_pages[p / KvCache::kPageTokens] = layer.cache.Key(layer.layer, kv_head, slot, p);
      v_pages[p / KvCache::kPageTokens] = layer.cache.Value(layer.layer, kv_head, slot, p);
    }
    block.k_pages = k_pages;
    block.v_pages = v_pages;
    block.scratch = scratch + thread * scratch_bytes;
    table_.attend_block(block);
  });
}

void GqaAttention::AttendChunk(const Layer& layer, uint32_t token, const Group& group, uint32_t chunk,
                               kernels::SoftmaxState* state, float* acc, float* scratch) const {
  const size_t dim = spec_.head_dim();
  const uint32_t n_heads = group.end - group.begin;
  std::fill_n(state, n_heads, kernels::SoftmaxState{-std::numeric_limits<float>::infinity(), 0.0f});
  std::fill_n(acc, n_heads * dim, 0.0f);
  const uint32_t slot = layer.step.slots(static_cast<int>(token));
  const uint32_t seen = layer.step.positions(static_cast<int>(token)) + 1;
  const uint32_t end = std::min(seen, (chunk + 1) * kChunkTokens);
  const auto key = [&](uint32_t p) { return layer.cache.Key(layer.layer, group.kv_head, slot, p); };
  for (uint32_t p = chunk * kChunkTokens; p < end; p += KvCache::kPageTokens) {
    const uint32_t next = p + KvCache::kPageTokens;
    table_.attend(layer.q + token * layer.row + group.begin * dim, n_heads, dim, key(p), dim,
                  layer.cache.Value(layer.layer, group.kv_head, slot, p), dim, dim,
                  std::min(KvCache::kPageTokens, end - p), next < end ? key(next) : nullptr, state, acc,
                  scratch);
  }
}

void GqaAttention::RunSingles(const Layer& layer) {
  const size_t dim = spec_.head_dim();
  const size_t n_pairs = singles_.size() * groups_.size();
  const size_t max_heads = spec_.n_heads() / spec_.n_kv_heads();
  const auto chunks_of = [&](size_t pair) {
    return layer.step.positions(static_cast<int>(singles_[pair / groups_.size()])) / kChunkTokens + 1;
  };

  // Few pairs of a token and a group: a task is one chunk. Many: a task is one pair, which goes through its chunks
  // itself. Both merge chunk after chunk, so both give the same bits.
  const bool by_chunk = n_pairs < 4ul * team_.size();
  first_task_.assign(n_pairs + 1, 0);
  for (size_t p = 0; p < n_pairs; ++p) first_task_[p + 1] = first_task_[p] + (by_chunk ? chunks_of(p) : 1);
  const size_t n_tasks = first_task_.back();
  const size_t n_states = by_chunk ? n_tasks : 2ul * team_.size();
  auto* states = states_.ReserveAs<kernels::SoftmaxState>(n_states * max_heads);
  auto* accs = accs_.ReserveAs<float>(n_states * max_heads * dim);
  const size_t scratch_size = max_heads * KvCache::kPageTokens;
  auto* scratch = scratch_.ReserveAs<float>(team_.size() * scratch_size);
  const auto state_at = [&](size_t i) { return states + i * max_heads; };
  const auto acc_at = [&](size_t i) { return accs + i * max_heads * dim; };

  const auto finish = [&](size_t pair, size_t from) {
    const Group& group = groups_[pair % groups_.size()];
    float* to = layer.out + singles_[pair / groups_.size()] * layer.row + group.begin * dim;
    for (uint32_t h = 0; h < group.end - group.begin; ++h) {
      const float* acc = acc_at(from) + h * dim;
      for (size_t i = 0; i < dim; ++i) to[h * dim + i] = acc[i] / state_at(from)[h].sum;
    }
  };
  const auto merge = [&](size_t pair, size_t into, size_t from) {
    const Group& group = groups_[pair % groups_.size()];
    Merge(group.end - group.begin, dim, state_at(into), acc_at(into), state_at(from), acc_at(from));
  };

  team_.For(n_tasks, [&](size_t task, int thread) {
    const size_t pair =
        by_chunk ? std::upper_bound(first_task_.begin(), first_task_.end(), task) - first_task_.begin() - 1
                 : task;
    const uint32_t token = singles_[pair / groups_.size()];
    const Group& group = groups_[pair % groups_.size()];
    const auto attend = [&](uint32_t chunk, size_t into) {
      AttendChunk(layer, token, group, chunk, state_at(into), acc_at(into), scratch + thread * scratch_size);
    };
    if (by_chunk) {
      attend(static_cast<uint32_t>(task - first_task_[pair]), task);
      if (chunks_of(pair) == 1) finish(pair, task);
      return;
    }
    const size_t mine = 2ul * thread;
    attend(0, mine);
    for (uint32_t c = 1; c < chunks_of(pair); ++c) {
      attend(c, mine + 1);
      merge(pair, mine, mine + 1);
    }
    finish(pair, mine);
  });
  if (!by_chunk || n_tasks == n_pairs) return;
  team_.For(n_pairs, [&](size_t pair, int) {
    if (chunks_of(pair) == 1) return;
    const size_t first = first_task_[pair];
    for (size_t i = first + 1; i < first_task_[pair + 1]; ++i) merge(pair, first, i);
    finish(pair, first);
  });
}

void GqaAttention::Run(const proto::Step& step, uint32_t layer, const KvCache& cache, shard::Range heads,
                       const float* q, float* out) {
  if (heads.size() == 0) return;
  FindGroups(cache, layer, heads);
  Divide(step);
  const Layer run = {step, layer, cache, heads.size() * spec_.head_dim(), q, out};
  if (!blocks_.empty()) RunBlocks(run);
  if (!singles_.empty()) RunSingles(run);
}

}  // namespace onecopy::exec
