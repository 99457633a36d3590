// Of Decoder: attention whose keys and values are those of KV heads: projection, norms, rotation, the cache.
#include <cmath>

#include "runtime/exec/decoder.h"
#include "runtime/exec/output_gate.h"
#include "runtime/shard/plan.h"

namespace onecopy::exec {

using proto::Weight;

// [tokens][heads of this rank][length of values].
const float* Decoder::AttendGqa(const proto::Step& step, uint32_t layer) {
  const size_t n = step.tokens_size();
  const shard::Range heads = shard::OwnedHeads(c_.plan, layer, c_.all.rank());
  const size_t q_cols = heads.size() * head_dim_;
  clock_.Enter(Phase::kAttentionMatmul);
  ProjectQkv(layer, n, q_cols);
  clock_.Enter(Phase::kRest);
  PrepareQ(step, layer);
  StoreKv(step, layer);
  clock_.Enter(Phase::kAttention);
  auto* attended = attended_.ReserveAs<float>(n * heads.size() * v_dim_);
  attention_.Run(step, layer, c_.cache, heads, q_.As<float>(), attended,
                 c_.store.Vector(Weight::ATTN_SINKS, layer));
  if (c_.spec.attn_output_gate()) ApplyGates(c_.team, n, q_cols, output_gates_.As<float>(), attended);
  return attended;
}

// q of this rank's heads; K and V rows of all ranks.
void Decoder::ProjectQkv(uint32_t layer, size_t n, size_t q_cols) {
  const GatheredPair& layout = layouts_[layer].kv;
  const int rank = c_.stage.rank();
  const size_t kv_cols = layout.cols();
  auto* kv = kv_.ReserveAs<float>(n * kv_cols);
  const bool gated = c_.spec.attn_output_gate();
  const size_t q_width = gated ? 2 * q_cols : q_cols;
  float *q = q_.ReserveAs<float>(n * q_cols),
        *q_and_gates = gated ? q_and_gates_.ReserveAs<float>(n * q_width) : q;
  const Product products[] = {{&c_.store.Matrix(Weight::ATTN_Q, layer), q_and_gates, q_width},
                              {&c_.store.Matrix(Weight::ATTN_K, layer), kv + layout.FirstOf(rank), kv_cols},
                              {&c_.store.Matrix(Weight::ATTN_V, layer), kv + layout.SecondOf(rank), kv_cols}};
  Linear(c_.table, c_.team, products, &acts_);
  if (gated)
    SplitGates(c_.team, n, q_cols / head_dim_, head_dim_, q_and_gates, q,
               output_gates_.ReserveAs<float>(n * q_cols));
  if (c_.spec.qk_norm_over_heads()) SumHeadSquares(layer, n);
  clock_.Enter(Phase::kCollective);
  c_.stage.AllGatherColumns(kv, n, layout.bounds, c_.cache.heads(layer).size() > 0);
}

// Where q is normalised over the heads of all ranks: the sum of squares of each head of this rank goes with its K and V.
// Summed head by head, the norm does not depend on which rank has which heads.
void Decoder::SumHeadSquares(uint32_t layer, size_t n) {
  const GatheredPair& layout = layouts_[layer].kv;
  const shard::Range heads = shard::OwnedHeads(c_.plan, layer, c_.all.rank());
  const auto bias = c_.store.Vector(Weight::ATTN_Q_BIAS, layer);
  auto* sums = kv_.As<float>() + layout.ExtraOf(c_.stage.rank());
  c_.team.For(n, [&](size_t t, int) {
    for (uint32_t h = 0; h < heads.size(); ++h) {
      const float* head = q_.As<float>() + (t * heads.size() + h) * head_dim_;
      double sum = 0;
      for (size_t i = 0; i < head_dim_; ++i) {
        const double q = head[i] + (bias.empty() ? 0.0f : bias[(heads.begin + h) * head_dim_ + i]);
        sum += q * q;
      }
      sums[t * layout.cols() + h] = static_cast<float>(sum);
    }
  });
}

// What q is divided by where it is normalised over all heads.
float Decoder::QueryNorm(uint32_t layer, size_t token) const {
  const GatheredPair& layout = layouts_[layer].kv;
  double sum = 0;
  for (uint32_t h = 0; h < c_.spec.n_heads(); ++h) {
    float of_head;
    layout.CopyExtra(kv_.As<float>() + token * layout.cols(), h, h + 1, &of_head);
    sum += of_head;
  }
  const double width = static_cast<double>(c_.spec.n_heads()) * static_cast<double>(head_dim_);
  return static_cast<float>(std::sqrt(sum / width + c_.spec.rms_norm_eps()));
}

// Bias, norm, rotation and the softmax scale, per query head.
void Decoder::PrepareQ(const proto::Step& step, uint32_t layer) {
  const shard::Range heads = shard::OwnedHeads(c_.plan, layer, c_.all.rank());
  const auto bias = c_.store.Vector(Weight::ATTN_Q_BIAS, layer),
             norm = c_.store.Vector(Weight::ATTN_Q_NORM, layer);
  auto* q = q_.As<float>();
  const bool over_heads = c_.spec.qk_norm_over_heads();
  c_.team.For(step.tokens_size(), [&](size_t t, int) {
    const float divisor = over_heads && heads.size() > 0 ? QueryNorm(layer, t) : 1.0f;
    for (uint32_t h = 0; h < heads.size(); ++h) {
      float* head = q + (t * heads.size() + h) * head_dim_;
      const size_t at = (heads.begin + h) * head_dim_;
      if (!bias.empty()) c_.table.axpy(1.0f, bias.data() + at, head_dim_, head);
      if (over_heads)
        for (size_t i = 0; i < head_dim_; ++i) head[i] = head[i] / divisor * norm[at + i];
      else if (!norm.empty())
        c_.table.rms_norm(head, norm.data(), c_.spec.rms_norm_eps(), head_dim_, head);
      rotation_.Query(layer, t, head);
    }
  });
}

// Bias, norm and rotation of the KV heads this rank's query heads need; then into the cache.
void Decoder::StoreKv(const proto::Step& step, uint32_t layer) {
  const GatheredPair& layout = layouts_[layer].kv;
  const shard::Range heads = c_.cache.heads(layer);
  const auto k_bias = c_.store.Vector(Weight::ATTN_K_BIAS, layer),
             v_bias = c_.store.Vector(Weight::ATTN_V_BIAS, layer);
  const auto k_norm = c_.store.Vector(Weight::ATTN_K_NORM, layer);
  const auto* kv = kv_.As<float>();
  const auto dim = static_cast<uint32_t>(head_dim_), v_dim = static_cast<uint32_t>(v_dim_);
  if (heads.size() == 0) return;
  // Keys are normalised head by head, or all heads of the model together.
  const bool over_heads = c_.spec.qk_norm_over_heads();
  const shard::Range normed = over_heads ? shard::Range{0, c_.spec.n_kv_heads()} : heads;
  const size_t key_floats = normed.size() * head_dim_;
  auto* keys_of_threads = heads_.ReserveAs<float>(c_.team.size() * (key_floats + v_dim_));
  c_.team.For(step.tokens_size(), [&](size_t t, int thread) {
    float* keys = keys_of_threads + thread * (key_floats + v_dim_);
    float* value = keys + key_floats;
    const int token = static_cast<int>(t);
    const float* row = kv + t * layout.cols();
    layout.CopyFirst(row, normed.begin * dim, normed.end * dim, keys);
    if (!k_bias.empty()) c_.table.axpy(1.0f, k_bias.data() + size_t{normed.begin} * dim, key_floats, keys);
    if (over_heads) c_.table.rms_norm(keys, k_norm.data(), c_.spec.rms_norm_eps(), key_floats, keys);
    for (uint32_t h = heads.begin; h < heads.end; ++h) {
      float* head = keys + (h - normed.begin) * head_dim_;
      if (!over_heads && !k_norm.empty())
        c_.table.rms_norm(head, k_norm.data(), c_.spec.rms_norm_eps(), dim, head);
      rotation_.Key(layer, t, head);
      const uint32_t slot = step.slots(token), position = step.positions(token);
      c_.table.store_kv(head, dim, c_.cache.Key(layer, h - heads.begin, slot, position));
      layout.CopySecond(row, h * v_dim, (h + 1) * v_dim, value);
      if (!v_bias.empty()) c_.table.axpy(1.0f, v_bias.data() + size_t{h} * v_dim, v_dim, value);
      Scale(c_.spec.value_scale(), v_dim, value);
      c_.table.store_kv(value, v_dim, c_.cache.Value(layer, h - heads.begin, slot, position));
    }
  });
}

}  // namespace onecopy::exec
