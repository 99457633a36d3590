#include "runtime/exec/attention_gqa.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/check.h"

namespace onecopy::exec {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
// Query heads of a group: so many share the reading of a key. A KV head with more has several groups.
constexpr uint32_t kMostHeads = 16;
constexpr size_t kBlockRows = 256;

// Merges the softmax of `n_heads` heads over further positions into a running one.
void MergeHeads(uint32_t n_heads, size_t dim, kernels::SoftmaxState* into, float* into_acc,
                const kernels::SoftmaxState* from, const float* from_acc) {
  for (uint32_t h = 0; h < n_heads; ++h) {
    const float max = std::max(into[h].max, from[h].max);
    if (max == kMinusInfinity) continue;  // neither has a position
    const float a = std::exp(into[h].max - max), b = std::exp(from[h].max - max);
    for (size_t i = 0; i < dim; ++i)
      into_acc[h * dim + i] = into_acc[h * dim + i] * a + from_acc[h * dim + i] * b;
    into[h] = {max, into[h].sum * a + from[h].sum * b};
  }
}

// What the block's results become when each head's sink takes part in its softmax too.
void AddSinks(const kernels::AttendBlock& block, const float* sinks) {
  for (size_t t = 0; t < block.n_tokens; ++t) {
    for (size_t h = 0; h < block.n_heads; ++h) {
      const kernels::SoftmaxState& state = block.states[t * block.n_heads + h];
      const float share = state.sum / (state.sum + std::exp(sinks[h] - state.max));
      float* out = block.out + t * block.out_stride + h * block.v_dim;
      for (size_t i = 0; i < block.v_dim; ++i) out[i] *= share;
    }
  }
}

}  // namespace

GqaAttention::GqaAttention(const proto::ModelSpec& spec, const kernels::KernelTable& table,
                           const ThreadTeam& team)
    : spec_(spec), table_(table), team_(team), sliding_(spec.n_layers()) {
  const bool latent = spec.kv_lora_rank() > 0;
  q_dim_ = latent ? spec.kv_lora_rank() + spec.qk_rope_head_dim() : spec.head_dim();
  v_dim_ = latent ? spec.kv_lora_rank() : shard::ValueDim(spec);
  for (const uint32_t layer : spec.sliding_layers()) sliding_[layer] = true;
}

void GqaAttention::FindGroups(const KvCache& cache, uint32_t layer, shard::Range heads) {
  const uint32_t per_kv_head = spec_.n_heads() / shard::KvHeadsOf(spec_, layer);
  groups_.clear();
  for (uint32_t kv = cache.heads(layer).begin; kv < cache.heads(layer).end; ++kv) {
    const uint32_t begin = std::max(heads.begin, kv * per_kv_head) - heads.begin;
    const uint32_t end = std::min(heads.end, (kv + 1) * per_kv_head) - heads.begin;
    for (uint32_t h = begin; h < end; h += kMostHeads)
      groups_.push_back({kv - cache.heads(layer).begin, h, std::min(end, h + kMostHeads)});
  }
}

void GqaAttention::Divide(const Layer& layer, uint32_t in_blocks) {
  // Rows (a row is a token and head) of a block: at most so many that their sums stay in the second-level cache, at least
  // so many that the conversion of a page is a small part of the work on it.
  constexpr uint64_t kMostRows = kBlockRows, kLeastRows = 64;
  constexpr size_t kTasksPerThread = 4;
  const proto::Step& step = layer.step;
  const auto n_tokens = static_cast<uint32_t>(step.tokens_size());
  uint32_t n_heads = 1;  // of the largest group
  for (const Group& group : groups_) n_heads = std::max(n_heads, group.end - group.begin);
  const uint64_t even = in_blocks * groups_.size() / (kTasksPerThread * team_.size());
  const auto per_block =
      static_cast<uint32_t>(std::clamp(even, DivUp(kLeastRows, n_heads), kMostRows / n_heads));

  blocks_.clear();
  singles_.clear();
  for (uint32_t begin = 0, end; begin < n_tokens; begin = end) {
    const auto follows = [&](int t) {
      return static_cast<uint32_t>(t) != in_blocks && step.slots(t) == step.slots(t - 1) &&
             step.positions(t) == step.positions(t - 1) + 1 &&
             (layer.attention_chunk == 0 || step.positions(t) % layer.attention_chunk != 0);
    };
    for (end = begin + 1; end < n_tokens && follows(static_cast<int>(end));) ++end;
    if (begin >= in_blocks) {
      for (uint32_t t = begin; t < end; ++t) singles_.push_back(t);
      continue;
    }
    for (uint32_t t = begin; t < end; t += per_block) {
      const uint32_t n = std::min(per_block, end - t);
      const uint64_t seen = layer.Seen(t).size() + uint64_t{n};
      for (uint32_t g = 0; g < groups_.size(); ++g)
        blocks_.push_back({t, n, g, seen * n * (groups_[g].end - groups_[g].begin)});
    }
  }
  // The longest first, so that threads end together.
  std::stable_sort(blocks_.begin(), blocks_.end(),
                   [](const Block& a, const Block& b) { return a.cost > b.cost; });
}

void GqaAttention::RunBlocks(const Layer& layer) {
  const auto block_of = [&](const Block& b) {
    const Group& group = groups_[b.group];
    kernels::AttendBlock block = {};
    block.n_tokens = b.n;
    block.n_heads = group.end - group.begin;
    block.head_dim = q_dim_;
    block.v_dim = v_dim_;
    block.v_stride = layer.cache.value_stride();
    block.first_position = layer.step.positions(static_cast<int>(b.begin)) - layer.FirstPage(b.begin);
    block.window = layer.window;
    block.q = layer.q + (b.begin * layer.heads + group.begin) * q_dim_;
    block.out = layer.out + (b.begin * layer.heads + group.begin) * v_dim_;
    block.q_stride = layer.heads * q_dim_;
    block.out_stride = layer.heads * v_dim_;
    return block;
  };
  size_t scratch_bytes = 0, n_pages = 0;
  for (const Block& b : blocks_) {
    const kernels::AttendBlock block = block_of(b);
    scratch_bytes = std::max(scratch_bytes, RoundUp(table_.attend_block_bytes(block), 64));
    n_pages = std::max<size_t>(n_pages, DivUp(block.first_position + b.n, KvCache::kPageTokens));
  }
  uint8_t* scratch = scratch_.Reserve(team_.size() * scratch_bytes);
  auto* states = layer.sinks == nullptr
                     ? nullptr
                     : block_states_.ReserveAs<kernels::SoftmaxState>(team_.size() * kBlockRows);
  pages_.resize(2 * n_pages * team_.size());
  team_.For(blocks_.size(), [&](size_t task, int thread) {
    const Block& b = blocks_[task];
    kernels::AttendBlock block = block_of(b);
    const void** k_pages = pages_.data() + 2 * n_pages * thread;
    const void** v_pages = k_pages + n_pages;
    const uint32_t slot = layer.step.slots(static_cast<int>(b.begin)), kv_head = groups_[b.group].kv_head;
    const uint32_t first_page = layer.FirstPage(b.begin);
    for (uint32_t p = 0; p < block.first_position + b.n; p += KvCache::kPageTokens) {
      k_pages[p / KvCache::kPageTokens] = layer.cache.Key(layer.layer, kv_head, slot, first_page + p);
      v_pages[p / KvCache::kPageTokens] = layer.cache.Value(layer.layer, kv_head, slot, first_page + p);
    }
    block.k_pages = k_pages;
    block.v_pages = v_pages;
    block.scratch = scratch + thread * scratch_bytes;
    if (states != nullptr) block.states = states + thread * kBlockRows;
    table_.attend_block(block);
    if (states != nullptr) AddSinks(block, layer.sinks + groups_[b.group].begin);
  });
}

// Chunks lie where they lie in the sequence; one that the window cuts is shorter. The first that a token sees begins with
// the sinks.
void GqaAttention::AttendChunk(const Layer& layer, uint32_t token, const Group& group, uint32_t chunk,
                               kernels::SoftmaxState* state, float* acc, float* scratch) const {
  const uint32_t n_heads = group.end - group.begin;
  const uint32_t slot = layer.step.slots(static_cast<int>(token));
  const shard::Range seen = layer.Seen(token);
  std::fill_n(acc, n_heads * v_dim_, 0.0f);
  for (uint32_t h = 0; h < n_heads; ++h) {
    const bool sink = layer.sinks != nullptr && chunk == seen.begin / kChunkTokens;
    state[h] = sink ? kernels::SoftmaxState{layer.sinks[group.begin + h], 1.0f}
                    : kernels::SoftmaxState{kMinusInfinity, 0.0f};
  }
  const uint32_t end = std::min(seen.end, (chunk + 1) * kChunkTokens);
  const auto key = [&](uint32_t p) { return layer.cache.Key(layer.layer, group.kv_head, slot, p); };
  for (uint32_t p = std::max(seen.begin, chunk * kChunkTokens), next; p < end; p = next) {
    next = std::min(end, (p / KvCache::kPageTokens + 1) * KvCache::kPageTokens);
    if (!layer.cache.Holds(p)) continue;
    table_.attend(layer.q + (token * layer.heads + group.begin) * q_dim_, n_heads, q_dim_, key(p), q_dim_,
                  layer.cache.Value(layer.layer, group.kv_head, slot, p), v_dim_, layer.cache.value_stride(),
                  next - p, next < end && layer.cache.Holds(next) ? key(next) : nullptr, state, acc, scratch);
  }
}

void GqaAttention::RunSingles(const Layer& layer) {
  const size_t n_pairs = singles_.size() * groups_.size();
  const size_t max_heads = std::min(kMostHeads, spec_.n_heads() / shard::KvHeadsOf(spec_, layer.layer));
  const auto first_chunk = [&](size_t pair) {
    return layer.Seen(singles_[pair / groups_.size()]).begin / kChunkTokens;
  };
  const auto chunks_of = [&](size_t pair) {
    return (layer.Seen(singles_[pair / groups_.size()]).end - 1) / kChunkTokens + 1 - first_chunk(pair);
  };

  // Few pairs of a token and a group: a task is one chunk. Many: a task is one pair, which goes through its chunks
  // itself. Both merge chunk after chunk, so both give the same bits.
  const bool by_chunk = n_pairs < 4ul * team_.size();
  first_task_.assign(n_pairs + 1, 0);
  for (size_t p = 0; p < n_pairs; ++p) first_task_[p + 1] = first_task_[p] + (by_chunk ? chunks_of(p) : 1);
  const size_t n_tasks = first_task_.back();
  const size_t n_states = by_chunk ? n_tasks : 2ul * team_.size();
  auto* states = states_.ReserveAs<kernels::SoftmaxState>(n_states * max_heads);
  auto* accs = accs_.ReserveAs<float>(n_states * max_heads * v_dim_);
  const size_t scratch_size = max_heads * KvCache::kPageTokens;
  auto* scratch = scratch_.ReserveAs<float>(team_.size() * scratch_size);
  const auto state_at = [&](size_t i) { return states + i * max_heads; };
  const auto acc_at = [&](size_t i) { return accs + i * max_heads * v_dim_; };

  const auto finish = [&](size_t pair, size_t from) {
    const Group& group = groups_[pair % groups_.size()];
    const size_t at = singles_[pair / groups_.size()] * layer.heads + group.begin;
    for (uint32_t h = 0; h < group.end - group.begin; ++h) {
      const float* acc = acc_at(from) + h * v_dim_;
      float* to = layer.out + (at + h) * v_dim_;
      const kernels::SoftmaxState& state = state_at(from)[h];
      if (layer.partial != nullptr) layer.partial[at + h] = state;
      const float divisor = layer.partial != nullptr ? 1.0f : state.sum;
      for (size_t i = 0; i < v_dim_; ++i) to[i] = acc[i] / divisor;
    }
  };
  const auto merge = [&](size_t pair, size_t into, size_t from) {
    const Group& group = groups_[pair % groups_.size()];
    MergeHeads(group.end - group.begin, v_dim_, state_at(into), acc_at(into), state_at(from), acc_at(from));
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
      attend(first_chunk(pair) + static_cast<uint32_t>(task - first_task_[pair]), task);
      if (chunks_of(pair) == 1) finish(pair, task);
      return;
    }
    const size_t mine = 2ul * thread;
    attend(first_chunk(pair), mine);
    for (uint32_t c = 1; c < chunks_of(pair); ++c) {
      attend(first_chunk(pair) + c, mine + 1);
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
                       const float* q, float* out, std::span<const float> sinks) {
  if (heads.size() == 0) return;
  const uint32_t window = sliding_[layer] ? spec_.sliding_window() : 0;
  const uint32_t chunk = sliding_[layer] ? spec_.attention_chunk() : 0;
  FindGroups(cache, layer, heads);
  const Layer run = {step,         layer, cache,
                     heads.size(), q,     out,
                     window,       chunk, sinks.empty() ? nullptr : sinks.data() + heads.begin,
                     nullptr};
  // What the tokens of a block see begins with a page of the cache, or is bounded by a window.
  Divide(run, chunk % KvCache::kPageTokens == 0 ? step.prompt_tokens() : 0);
  if (!blocks_.empty()) RunBlocks(run);
  if (!singles_.empty()) RunSingles(run);
}

void GqaAttention::RunPartial(const proto::Step& step, uint32_t layer, const KvCache& cache,
                              shard::Range heads, const float* q, float* out, kernels::SoftmaxState* states) {
  if (heads.size() == 0) return;
  FindGroups(cache, layer, heads);
  const Layer run = {step, layer, cache, heads.size(), q, out, 0, 0, nullptr, states};
  Divide(run, /*in_blocks=*/0);
  RunSingles(run);
}

}  // namespace onecopy::exec
