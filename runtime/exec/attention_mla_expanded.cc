#include "runtime/exec/attention_mla_expanded.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/check.h"

namespace onecopy::exec {
namespace {

using proto::Weight;

constexpr uint32_t kPage = KvCache::kPageTokens;
constexpr uint32_t kPages = shard::kExpandedPositions / kPage;
// Positions of which one task makes keys and values: so many that decoding the weights is a small part of it.
constexpr uint32_t kTaskPositions = 128;
// Tokens of a head in one call of attend_block, as in attention_gqa.cc.
constexpr size_t kMostTokens = 256, kLeastTokens = 64;
static_assert(shard::kExpandedPositions % kTaskPositions == 0 && kTaskPositions % kPage == 0);

// A row of the cache as floats; those of the last block of 32 behind it are written too.
void LoadKv(kernels::KvType type, const uint8_t* row, size_t n, float* out) {
  const kernels::WeightType like = type == kernels::KvType::kF32   ? kernels::WeightType::kF32
                                   : type == kernels::KvType::kF16 ? kernels::WeightType::kF16
                                                                   : kernels::WeightType::kQ8_0;
  kernels::Info(like).decode(row, out, type == kernels::KvType::kQ8_0 ? RoundUp(n, kernels::kQ8Block) : n);
}

// Outputs of one token, divided already, over two sets of positions.
void MergeOutputs(size_t dim, const kernels::SoftmaxState& from, const float* from_out,
                  kernels::SoftmaxState* into, float* into_out) {
  const float max = std::max(into->max, from.max);
  const float a = into->sum * std::exp(into->max - max), b = from.sum * std::exp(from.max - max);
  for (size_t i = 0; i < dim; ++i) into_out[i] = into_out[i] * (a / (a + b)) + from_out[i] * (b / (a + b));
  *into = {max, a + b};
}

}  // namespace

shard::Chunk ExpandedChunk(const DecoderContext& context, const proto::Step& step) {
  constexpr shard::Chunk kNone = {0, 0};
  // Where prompts are cut anywhere, a token's form must not depend on how. Tables with kernels for many tokens have
  // chunks of fixed size for the same reason.
  const uint32_t n = step.prompt_tokens();
  if (n == 0 || (context.cut_anywhere && !context.table.has_many())) return kNone;
  for (uint32_t t = 1; t < n; ++t)
    if (step.slots(static_cast<int>(t)) != step.slots(0) ||
        step.positions(static_cast<int>(t)) != step.positions(0) + t)
      return kNone;
  const shard::Chunk chunk = {n, step.positions(0)};
  return shard::IsExpanded(context.spec, context.plan, chunk) ? chunk : kNone;
}

ExpandedMla::ExpandedMla(const DecoderContext& context, PhaseClock* clock)
    : c_(context),
      cache_(context.table.step_cache),
      clock_(*clock),
      nope_(context.spec.qk_nope_head_dim()),
      rope_(context.spec.qk_rope_head_dim()),
      v_dim_(context.spec.v_head_dim()),
      latent_(context.spec.kv_lora_rank()),
      key_bytes_(kernels::KvRowBytes(cache_.kv_type, nope_ + rope_)),
      value_bytes_(kernels::KvRowBytes(cache_.kv_type, v_dim_)),
      row_floats_(RoundUp(latent_ + rope_, 32)) {}

uint8_t* ExpandedMla::KeyPage(size_t head, size_t page) const {
  return keys_.As<uint8_t>() + (head * kPages + page) * kPage * key_bytes_;
}
uint8_t* ExpandedMla::ValuePage(size_t head, size_t page) const {
  return values_.As<uint8_t>() + (head * kPages + page) * kPage * value_bytes_;
}

void ExpandedMla::Run(const proto::Step& step, uint32_t layer, shard::Range heads, const float* q,
                      float* out) {
  if (heads.size() == 0) return;
  const uint32_t n = step.prompt_tokens();
  const Layer run = {layer, heads.size(), {n, step.positions(0)}, q, out};
  keys_.Reserve(run.heads * kPages * kPage * key_bytes_);
  values_.Reserve(run.heads * kPages * kPage * value_bytes_);
  k_pages_.clear();
  v_pages_.clear();
  for (size_t i = 0; i < run.heads * kPages; ++i) {
    k_pages_.push_back(KeyPage(0, i));
    v_pages_.push_back(ValuePage(0, i));
  }
  clock_.Enter(Phase::kAttentionMatmul);
  if (c_.store.Has(Weight::ATTN_K_B, layer)) PackKeys(run);
  const uint32_t end = step.positions(0) + n;
  for (uint32_t begin = 0; begin < end; begin += shard::kExpandedPositions) {
    const Block block = {step.slots(0), begin, std::min(shard::kExpandedPositions, end - begin)};
    clock_.Enter(Phase::kAttentionMatmul);
    Expand(run, block);
    clock_.Enter(Phase::kAttention);
    Attend(run, block);
  }
}

// The keys' up-projection, which lies transposed, [latent][nope] of each head.
void ExpandedMla::PackKeys(const Layer& layer) {
  const kernels::PackedMatrix& k_b = c_.store.Matrix(Weight::ATTN_K_B, layer.layer);
  const size_t bytes = c_.table.transposed.panel_bytes(latent_, nope_);
  auto* panels = panels_.Reserve(layer.heads * bytes);
  auto* rows = products_.ReserveAs<float>(c_.team.size() * latent_ * nope_);
  c_.team.For(layer.heads, [&](size_t h, int thread) {
    float* w = rows + thread * latent_ * nope_;
    for (size_t i = 0; i < latent_; ++i)
      kernels::UnpackRow(k_b, static_cast<uint32_t>(h * latent_ + i), w + i * nope_);
    c_.table.transposed.pack(w, latent_, nope_, panels + h * bytes);
  });
}

void ExpandedMla::LoadLatents(const Layer& layer, const Block& block) {
  constexpr uint32_t kRowsPerTask = 8;
  auto* latents = latents_.ReserveAs<float>(shard::kExpandedPositions * row_floats_);
  c_.team.For(DivUp(block.n, kRowsPerTask), [&](size_t task, int) {
    const auto begin = static_cast<uint32_t>(task) * kRowsPerTask;
    for (uint32_t i = begin; i < std::min(block.n, begin + kRowsPerTask); ++i)
      LoadKv(c_.table.kv_type, c_.cache.Key(layer.layer, 0, block.slot, block.begin + i), latent_ + rope_,
             latents + i * row_floats_);
  });
}

void ExpandedMla::Expand(const Layer& layer, const Block& block) {
  LoadLatents(layer, block);
  const auto* latents = latents_.As<float>();
  const bool split = c_.store.Has(Weight::ATTN_K_B, layer.layer);
  const kernels::PackedMatrix& w = c_.store.Matrix(split ? Weight::ATTN_V_B : Weight::ATTN_KV_B, layer.layer);
  const auto rows_of_head = static_cast<uint32_t>(split ? v_dim_ : nope_ + v_dim_);
  // The kernel for many however few are left: a position's keys and values have the same bits in every chunk.
  const kernels::MatmulKernel& kernel = c_.table.ForPrompt(w.type, kTaskPositions);
  const kernels::TransposedKernel& transposed = c_.table.transposed;
  acts_.Set(latents, block.n, latent_, row_floats_);
  const void* const* x = acts_.Rows(kernel.act, c_.table, c_.team);
  const void* const* x_of_keys = split ? acts_.Rows(transposed.act, c_.table, c_.team) : nullptr;
  const size_t x_bytes = transposed.act == kernels::ActFormat::kF32
                             ? row_floats_ * sizeof(float)
                             : kernels::ActRowBytes(transposed.act, latent_);
  const size_t panel_bytes = split ? transposed.panel_bytes(latent_, nope_) : 0;

  // Of a thread: [kTaskPositions][keys, values], and a key with its rotated part.
  const size_t values_at = split ? RoundUp(nope_, 32) : nope_, columns = values_at + v_dim_;
  const size_t floats = RoundUp(kTaskPositions * columns + nope_ + rope_, 16);
  auto* products = products_.ReserveAs<float>(c_.team.size() * floats);
  y_rows_.resize(size_t{kTaskPositions} * c_.team.size());
  for (size_t i = 0; i < y_rows_.size(); ++i)
    y_rows_[i] =
        products + i / kTaskPositions * floats + i % kTaskPositions * columns + (split ? values_at : 0);

  const size_t tasks_of_head = DivUp(block.n, kTaskPositions);
  c_.team.For(layer.heads * tasks_of_head, [&](size_t task, int thread) {
    const size_t h = task / tasks_of_head, begin = task % tasks_of_head * kTaskPositions;
    const size_t n = std::min<size_t>(kTaskPositions, block.n - begin);
    const auto row = static_cast<uint32_t>(h) * rows_of_head;
    const kernels::PackedMatrix of_head = RowSlice(w, row, row + rows_of_head);
    float *y = products + thread * floats, *key = y + kTaskPositions * columns;
    kernel.matmul(of_head, x + begin, y_rows_.data() + size_t{kTaskPositions} * thread, n, 0, rows_of_head);
    if (split)
      transposed.multiply(panels_.As<uint8_t>() + h * panel_bytes, latent_, nope_, x_of_keys[begin], x_bytes,
                          n, y, columns);
    for (size_t i = 0; i < n; ++i) {
      const size_t page = (begin + i) / kPage, at = (begin + i) % kPage;
      std::copy_n(y + i * columns, nope_, key);
      std::copy_n(latents + (begin + i) * row_floats_ + latent_, rope_, key + nope_);
      cache_.store_kv(key, nope_ + rope_, KeyPage(h, page) + at * key_bytes_);
      cache_.store_kv(y + i * columns + values_at, v_dim_, ValuePage(h, page) + at * value_bytes_);
    }
  });
}

void ExpandedMla::Attend(const Layer& layer, const Block& block) {
  constexpr size_t kTasksPerThread = 4;
  const size_t n_tokens = layer.chunk.tokens, threads = c_.team.size();
  // Those before it see none of the block.
  const size_t first = block.begin > layer.chunk.position ? block.begin - layer.chunk.position : 0;
  const size_t per_task =
      std::clamp((n_tokens - first) * layer.heads / (kTasksPerThread * threads), kLeastTokens, kMostTokens);
  const size_t tasks_of_head = DivUp(n_tokens - first, per_task);
  kernels::AttendBlock largest = {};
  largest.n_tokens = kMostTokens;
  largest.n_heads = 1;
  largest.head_dim = nope_ + rope_;
  largest.v_dim = v_dim_;
  scratch_.Reserve(threads * RoundUp(cache_.attend_block_bytes(largest), 64));
  states_.ReserveAs<kernels::SoftmaxState>(layer.heads * n_tokens);
  partial_.ReserveAs<float>(threads * kMostTokens * v_dim_);
  partial_states_.ReserveAs<kernels::SoftmaxState>(threads * kMostTokens);
  c_.team.For(layer.heads * tasks_of_head, [&](size_t task, int thread) {
    const size_t begin = first + task % tasks_of_head * per_task;
    AttendTokens(layer, block, task / tasks_of_head, begin, std::min(per_task, n_tokens - begin), thread);
  });
}

// Tokens [token, token + n) of a head, each of which sees some of the block.
void ExpandedMla::AttendTokens(const Layer& layer, const Block& block, size_t head, size_t token, size_t n,
                               int thread) {
  const size_t q_floats = layer.heads * (nope_ + rope_);
  auto* states = states_.As<kernels::SoftmaxState>() + head * layer.chunk.tokens + token;
  float* out = layer.out + (token * layer.heads + head) * v_dim_;
  const bool whole = block.begin == 0;  // else what is there already is merged with
  kernels::AttendBlock b = {};
  b.n_tokens = n;
  b.n_heads = 1;
  b.head_dim = nope_ + rope_;
  b.v_dim = b.v_stride = v_dim_;
  b.first_position = layer.chunk.position + token - block.begin;
  b.n_positions = block.n;
  b.q = layer.q + token * q_floats + head * (nope_ + rope_);
  b.q_stride = q_floats;
  b.k_pages = k_pages_.data() + head * kPages;
  b.v_pages = v_pages_.data() + head * kPages;
  b.out = whole ? out : partial_.As<float>() + thread * kMostTokens * v_dim_;
  b.out_stride = whole ? layer.heads * v_dim_ : v_dim_;
  b.states = whole ? states : partial_states_.As<kernels::SoftmaxState>() + thread * kMostTokens;
  kernels::AttendBlock largest = b;
  largest.n_tokens = kMostTokens;
  b.scratch = scratch_.As<uint8_t>() + thread * RoundUp(cache_.attend_block_bytes(largest), 64);
  cache_.attend_block(b);
  if (whole) return;
  for (size_t t = 0; t < n; ++t)
    MergeOutputs(v_dim_, b.states[t], b.out + t * v_dim_, states + t, out + t * layer.heads * v_dim_);
}

}  // namespace onecopy::exec
