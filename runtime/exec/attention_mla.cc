#include "runtime/exec/attention_mla.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/base/check.h"
#include "runtime/exec/rope.h"
#include "runtime/exec/row_bounds.h"
#include "runtime/shard/pipeline.h"

namespace onecopy::exec {

using proto::Weight;

MlaAttention::MlaAttention(const DecoderContext& context, PhaseClock* clock)
    : c_(context),
      clock_(*clock),
      nope_(context.spec.qk_nope_head_dim()),
      rope_(context.spec.qk_rope_head_dim()),
      v_dim_(context.spec.v_head_dim()),
      latent_(context.spec.kv_lora_rank()),
      core_(context.spec, context.table, context.team),
      expanded_(context, clock) {
  if (latent_ == 0) return;
  const int stage = shard::StageOfRank(c_.plan, c_.all.rank());
  const shard::Range layers = shard::LayersOfStage(c_.plan, stage);
  layouts_.resize(c_.spec.n_layers());
  for (uint32_t l = layers.begin; l < layers.end; ++l) {
    std::vector<uint32_t> q_a(c_.stage.size() + 1, 0);
    if (c_.spec.q_lora_rank() > 0) q_a = RowBounds(c_.spec, c_.plan, Weight::ATTN_Q_A, l, stage);
    layouts_[l] = {std::move(q_a), RowBounds(c_.spec, c_.plan, Weight::ATTN_KV_A, l, stage)};
  }
}

const float* MlaAttention::Run(const proto::Step& step, uint32_t layer, Activations* x,
                               const float* cos_sin) {
  const size_t n = step.tokens_size();
  heads_ = shard::OwnedHeads(c_.plan, layer, c_.all.rank());
  clock_.Enter(Phase::kAttentionMatmul);
  acts_.set_split(&x->split());
  Project(layer, n, x);
  clock_.Enter(Phase::kRest);
  StoreLatents(step, layer, cos_sin);
  PrepareQuery(n, cos_sin);
  const auto* q = q_.As<float>();
  auto* out = out_.ReserveAs<float>(n * heads_.size() * v_dim_);
  const uint32_t expanded = ExpandedChunk(c_, step).tokens;
  if (expanded == 0) {
    Absorbed(step, layer, q, out);
    return out;
  }
  expanded_.Run(step, layer, heads_, q, out);
  if (expanded == n) return out;
  proto::Step others;
  for (auto t = static_cast<int>(expanded); t < step.tokens_size(); ++t) {
    others.add_tokens(step.tokens(t));
    others.add_slots(step.slots(t));
    others.add_positions(step.positions(t));
  }
  static const RowSplit kFew;
  acts_.set_split(&kFew);
  const size_t rows = size_t{expanded} * heads_.size();  // of a token and head
  Absorbed(others, layer, q + rows * (nope_ + rope_), out + rows * v_dim_);
  return out;
}

void MlaAttention::Absorbed(const proto::Step& step, uint32_t layer, const float* q, float* out) {
  const size_t n = step.tokens_size();
  clock_.Enter(Phase::kAttentionMatmul);
  AbsorbKeys(layer, n, q);
  clock_.Enter(Phase::kAttention);
  attended_.ReserveAs<float>(n * heads_.size() * latent_);
  if (c_.plan.mla_cache() == proto::ShardPlan::BY_POSITION)
    AttendByPosition(step, layer);
  else
    core_.Run(step, layer, c_.cache, heads_, query_.As<float>(), attended_.As<float>());
  clock_.Enter(Phase::kAttentionMatmul);
  Values(layer, n, out);
}

// q of this rank's heads, [tokens][heads][nope + rope], and kv_a's rows of all ranks.
void MlaAttention::Project(uint32_t layer, size_t n, Activations* x) {
  const GatheredPair& layout = layouts_[layer];
  const int rank = c_.stage.rank();
  const size_t cols = layout.cols(), q_cols = heads_.size() * (nope_ + rope_);
  const size_t q_lora = c_.spec.q_lora_rank();
  auto* gathered = gathered_.ReserveAs<float>(n * cols);
  auto* q = q_.ReserveAs<float>(n * q_cols);
  const Product kv_a = {&c_.store.Matrix(Weight::ATTN_KV_A, layer), gathered + layout.SecondOf(rank), cols};
  const Product first =
      q_lora > 0 ? Product{&c_.store.Matrix(Weight::ATTN_Q_A, layer), gathered + layout.FirstOf(rank), cols}
                 : Product{&c_.store.Matrix(Weight::ATTN_Q, layer), q, q_cols};
  const Product products[] = {first, kv_a};
  Linear(c_.table, c_.team, products, x);
  clock_.Enter(Phase::kCollective);
  c_.stage.AllGatherColumns(gathered, n, layout.bounds);
  clock_.Enter(Phase::kAttentionMatmul);
  if (q_lora == 0) return;
  auto* lora = lora_.ReserveAs<float>(n * q_lora);
  const auto norm = c_.store.Vector(Weight::ATTN_Q_A_NORM, layer);
  c_.team.For(n, [&](size_t t, int) {
    float* row = lora + t * q_lora;
    layout.CopyFirst(gathered + t * cols, 0, static_cast<uint32_t>(q_lora), row);
    c_.table.rms_norm(row, norm.data(), c_.spec.rms_norm_eps(), q_lora, row);
  });
  acts_.Set(lora, n, q_lora, q_lora);
  Linear(c_.table, c_.team, c_.store.Matrix(Weight::ATTN_Q_B, layer), &acts_, q, q_cols);
}

// Normalises the latents, rotates the part of the keys that carries the position, and keeps both.
void MlaAttention::StoreLatents(const proto::Step& step, uint32_t layer, const float* cos_sin) {
  const GatheredPair& layout = layouts_[layer];
  const auto norm = c_.store.Vector(Weight::ATTN_KV_A_NORM, layer);
  const RopeFn rope = RopeOf(c_.spec, c_.table);
  const size_t width = latent_ + rope_;
  auto* rows = threads_.ReserveAs<float>(c_.team.size() * width);
  c_.team.For(step.tokens_size(), [&](size_t t, int thread) {
    const uint32_t slot = step.slots(static_cast<int>(t)), position = step.positions(static_cast<int>(t));
    if (!c_.cache.Holds(position)) return;
    float* row = rows + thread * width;
    layout.CopySecond(gathered_.As<float>() + t * layout.cols(), 0, static_cast<uint32_t>(width), row);
    c_.table.rms_norm(row, norm.data(), c_.spec.rms_norm_eps(), latent_, row);
    rope(row + latent_, cos_sin + t * rope_, rope_ / 2);
    c_.table.store_kv(row, width, c_.cache.Key(layer, 0, slot, position));
  });
}

// Scales q and rotates its last part.
void MlaAttention::PrepareQuery(size_t n, const float* cos_sin) {
  const RopeFn rope = RopeOf(c_.spec, c_.table);
  const float scale = SoftmaxScale(c_.spec);
  const size_t n_heads = heads_.size(), dim = nope_ + rope_;
  auto* q = q_.As<float>();
  c_.team.For(n, [&](size_t t, int) {
    for (size_t h = t * n_heads; h < (t + 1) * n_heads; ++h) {
      float* head = q + h * dim;
      for (size_t i = 0; i < dim; ++i) head[i] *= scale;
      rope(head + nope_, cos_sin + t * rope_, rope_ / 2);
    }
  });
}

// query_: [tokens][heads][latent + rope], of which q's rotated part is the last.
void MlaAttention::AbsorbKeys(uint32_t layer, size_t n, const float* q) {
  if (heads_.size() == 0) return;
  const size_t n_heads = heads_.size(), width = latent_ + rope_;
  auto* query = query_.ReserveAs<float>(n * n_heads * width);
  c_.team.For(n, [&](size_t t, int) {
    for (size_t h = t * n_heads; h < (t + 1) * n_heads; ++h)
      std::copy_n(q + h * (nope_ + rope_) + nope_, rope_, query + h * width + latent_);
  });
  if (!c_.store.Has(Weight::ATTN_K_B, layer))
    return AbsorbWholeKvB(c_.store.Matrix(Weight::ATTN_KV_B, layer), n, q);
  const auto rows = static_cast<uint32_t>(latent_);
  HeadLinear({&c_.store.Matrix(Weight::ATTN_K_B, layer), rows, 0, rows}, n, q, nope_, nope_ + rope_,
             query_.As<float>(), latent_ + rope_);
}

// The keys' rows of kv_b, [nope][latent] of each head, are not transposed: their multiples by q's elements are added
// up. A row is decoded once for all tokens.
void MlaAttention::AbsorbWholeKvB(const kernels::PackedMatrix& kv_b, size_t n, const float* q) {
  const size_t n_heads = heads_.size(), dim = nope_ + rope_, width = latent_ + rope_;
  auto *query = query_.As<float>(), *rows = threads_.ReserveAs<float>(c_.team.size() * latent_);
  // Few tokens: their sums stay in the first-level cache.
  constexpr size_t kTokens = 8;
  const size_t n_blocks = DivUp(n, kTokens);
  c_.team.For(n_heads * n_blocks, [&](size_t task, int thread) {
    const size_t h = task / n_blocks, begin = task % n_blocks * kTokens, end = std::min(n, begin + kTokens);
    float* row = rows + thread * latent_;
    for (size_t t = begin; t < end; ++t) std::fill_n(query + (t * n_heads + h) * width, latent_, 0.0f);
    for (size_t i = 0; i < nope_; ++i) {
      kernels::UnpackRow(kv_b, static_cast<uint32_t>(h * (nope_ + v_dim_) + i), row);
      for (size_t t = begin; t < end; ++t)
        c_.table.axpy(q[(t * n_heads + h) * dim + i], row, latent_, query + (t * n_heads + h) * width);
    }
  });
}

void MlaAttention::Values(uint32_t layer, size_t n, float* out) {
  if (heads_.size() == 0) return;
  const auto v = static_cast<uint32_t>(v_dim_), nope = static_cast<uint32_t>(nope_);
  const HeadRows rows = c_.store.Has(Weight::ATTN_V_B, layer)
                            ? HeadRows{&c_.store.Matrix(Weight::ATTN_V_B, layer), v, 0, v}
                            : HeadRows{&c_.store.Matrix(Weight::ATTN_KV_B, layer), nope + v, nope, v};
  HeadLinear(rows, n, attended_.As<float>(), latent_, latent_, out, v_dim_);
}

// y[token][head] = rows of the head . x[token][head]; both are `stride` floats a head apart.
void MlaAttention::HeadLinear(const HeadRows& rows, size_t n, const float* x, size_t x_cols, size_t x_stride,
                              float* y, size_t y_stride) {
  const size_t n_heads = heads_.size();
  const RowSplit& split = acts_.split();
  acts_.Set(x, n * n_heads, x_cols, x_stride);
  x_rows_.resize(n * n_heads);
  y_rows_.resize(n * n_heads);
  ForKernels(c_.table, *rows.w, split.n_many, n,
             [&](const kernels::MatmulKernel& kernel, size_t begin, size_t end) {
               const void* const* by_token = acts_.Rows(kernel.act, c_.table, c_.team);
               for (size_t h = 0; h < n_heads; ++h)
                 for (size_t i = begin; i < end; ++i)
                   x_rows_[h * n + i] = by_token[split.At(i) * n_heads + h];
             });
  for (size_t h = 0; h < n_heads; ++h)
    for (size_t i = 0; i < n; ++i) y_rows_[h * n + i] = y + (split.At(i) * n_heads + h) * y_stride;
  const uint32_t step = std::min(rows.rows, RowsPerTask(uint64_t{rows.rows} * n_heads, n, c_.team));
  const size_t per_head = DivUp(rows.rows, step);
  c_.team.For(n_heads * per_head, [&](size_t task, int) {
    const size_t h = task / per_head;
    const auto row = static_cast<uint32_t>(task % per_head * step);
    const auto first = static_cast<uint32_t>(h) * rows.per_head + rows.first;
    const auto head = RowSlice(*rows.w, first, first + rows.rows);
    ForKernels(c_.table, head, split.n_many, n,
               [&](const kernels::MatmulKernel& kernel, size_t begin, size_t end) {
                 kernel.matmul(head, x_rows_.data() + h * n + begin, y_rows_.data() + h * n + begin,
                               end - begin, row, std::min(rows.rows, row + step));
               });
  });
}

// A few tokens at a time: the queries and sums of all heads are on every rank.
void MlaAttention::AttendByPosition(const proto::Step& step, uint32_t layer) {
  constexpr size_t kTokens = 16;
  const size_t n_heads = c_.spec.n_heads(), width = latent_ + rope_, own = heads_.size();
  const size_t n_ranks = c_.stage.size();
  const auto first_rank =
      static_cast<int>(shard::RanksOfStage(c_.plan, shard::StageOfRank(c_.plan, c_.all.rank())).begin);
  query_bounds_.clear();
  maxima_bounds_.clear();
  for (size_t r = 0; r <= n_ranks; ++r) {
    const uint32_t heads_before =
        r == 0 ? 0 : shard::OwnedHeads(c_.plan, layer, first_rank + static_cast<int>(r) - 1).end;
    query_bounds_.push_back(static_cast<uint32_t>(heads_before * width));
    maxima_bounds_.push_back(static_cast<uint32_t>(r * n_heads));
  }
  const size_t most = std::min<size_t>(kTokens, step.tokens_size());
  auto* queries = all_queries_.ReserveAs<float>(most * n_heads * width);
  auto* sums = sums_.ReserveAs<float>(most * n_heads * (latent_ + 1));
  auto* states = states_.ReserveAs<kernels::SoftmaxState>(most * n_heads);
  auto* maxima = maxima_.ReserveAs<float>(most * n_heads * n_ranks);
  for (size_t begin = 0; begin < static_cast<size_t>(step.tokens_size()); begin += kTokens) {
    proto::Step part;
    const size_t n = std::min<size_t>(kTokens, step.tokens_size() - begin);
    for (size_t t = begin; t < begin + n; ++t) {
      part.add_tokens(0);
      part.add_slots(step.slots(static_cast<int>(t)));
      part.add_positions(step.positions(static_cast<int>(t)));
      std::copy_n(query_.As<float>() + t * own * width, own * width,
                  queries + ((t - begin) * n_heads + heads_.begin) * width);
    }
    clock_.Enter(Phase::kCollective);
    c_.stage.AllGatherColumns(queries, n, query_bounds_);
    clock_.Enter(Phase::kAttention);
    core_.RunPartial(part, layer, c_.cache, {0, static_cast<uint32_t>(n_heads)}, queries, sums, states);
    for (size_t i = 0; i < n * n_heads; ++i)
      maxima[(i / n_heads * n_ranks + c_.stage.rank()) * n_heads + i % n_heads] = states[i].max;
    clock_.Enter(Phase::kCollective);
    c_.stage.AllGatherColumns(maxima, n, maxima_bounds_);
    clock_.Enter(Phase::kAttention);
    float* divisors = sums + n * n_heads * latent_;
    c_.team.For(n * n_heads, [&](size_t i, int) {
      float max = -std::numeric_limits<float>::infinity();
      for (size_t r = 0; r < n_ranks; ++r)
        max = std::max(max, maxima[(i / n_heads * n_ranks + r) * n_heads + i % n_heads]);
      const float factor = std::exp(states[i].max - max);
      for (size_t j = 0; j < latent_; ++j) sums[i * latent_ + j] *= factor;
      divisors[i] = states[i].sum * factor;
    });
    clock_.Enter(Phase::kCollective);
    c_.stage.AllReduceSum({sums, n * n_heads * (latent_ + 1)});
    clock_.Enter(Phase::kAttention);
    for (size_t t = 0; t < n; ++t) {
      for (size_t h = 0; h < own; ++h) {
        const size_t i = t * n_heads + heads_.begin + h;
        float* out = attended_.As<float>() + ((begin + t) * own + h) * latent_;
        for (size_t j = 0; j < latent_; ++j) out[j] = sums[i * latent_ + j] / divisors[i];
      }
    }
  }
}

}  // namespace onecopy::exec
