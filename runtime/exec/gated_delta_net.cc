#include "runtime/exec/gated_delta_net.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/exec/row_bounds.h"
#include "runtime/shard/pipeline.h"

namespace onecopy::exec {
namespace {

using proto::Weight;

constexpr uint32_t kChannelsPerTask = 32;
constexpr uint32_t kMostKernel = 16;     // runtime/model/families/gated_delta.cc
constexpr float kLengthEpsilon = 1e-6f;  // of the norms of q and k, in all implementations

uint32_t KeyHeadOf(const proto::ModelSpec& spec, uint32_t value_head) {
  return spec.linear_heads_tiled() ? value_head % spec.linear_key_heads()
                                   : value_head / (spec.linear_value_heads() / spec.linear_key_heads());
}

// Rows of LINEAR_BETA_ALPHA: of each key head beta of its value heads, then alpha.
uint32_t FusedRow(const proto::ModelSpec& spec, uint32_t value_head, bool alpha) {
  const uint32_t per_key = spec.linear_value_heads() / spec.linear_key_heads();
  return value_head / per_key * 2 * per_key + (alpha ? per_key : 0) + value_head % per_key;
}

uint32_t RankOf(const std::vector<uint32_t>& bounds, uint32_t row) {
  return static_cast<uint32_t>(std::upper_bound(bounds.begin(), bounds.end(), row) - bounds.begin() - 1);
}

float Softplus(float x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}

// x / |x| times `factor`.
void Normalize(float* x, size_t n, float factor) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += double{x[i]} * x[i];
  const auto scale = static_cast<float>(factor / std::sqrt(sum + kLengthEpsilon));
  for (size_t i = 0; i < n; ++i) x[i] *= scale;
}

}  // namespace

GatedDeltaNet::GatedDeltaNet(const DecoderContext& context, PhaseClock* clock)
    : c_(context),
      clock_(clock),
      stage_(shard::StageOfRank(context.plan, context.all.rank())),
      key_dim_(context.spec.linear_key_head_dim()),
      value_dim_(context.spec.linear_value_head_dim()),
      kernel_(context.spec.linear_conv_kernel()),
      layouts_(context.spec.n_layers()) {
  const shard::Range layers = shard::LayersOfStage(c_.plan, stage_);
  for (uint32_t l = layers.begin; l < layers.end; ++l)
    if (c_.store.Has(Weight::LINEAR_O, l)) layouts_[l] = MakeLayout(l);
}

GatedDeltaNet::Layout GatedDeltaNet::MakeLayout(uint32_t layer) const {
  const auto bounds_of = [&](Weight::Role role) { return RowBounds(c_.spec, c_.plan, role, layer, stage_); };
  const bool fused = c_.store.Has(Weight::LINEAR_BETA_ALPHA, layer);
  const std::vector<uint32_t> beta = bounds_of(fused ? Weight::LINEAR_BETA_ALPHA : Weight::LINEAR_BETA);
  const std::vector<uint32_t> alpha =
      fused ? std::vector<uint32_t>(beta.size()) : bounds_of(Weight::LINEAR_ALPHA);
  Layout layout;
  layout.q = bounds_of(Weight::LINEAR_Q);
  layout.k = bounds_of(Weight::LINEAR_K);
  for (size_t r = 0; r < beta.size(); ++r)
    layout.bounds.push_back(layout.q[r] + layout.k[r] + beta[r] + alpha[r]);
  const auto beta_col = [&](uint32_t row) {
    const uint32_t r = RankOf(beta, row);
    return layout.bounds[r] + layout.q[r + 1] - layout.q[r] + layout.k[r + 1] - layout.k[r] + row - beta[r];
  };
  const auto alpha_col = [&](uint32_t row) {
    const uint32_t r = RankOf(alpha, row);
    return layout.bounds[r + 1] - (alpha[r + 1] - row);
  };
  layout.beta_rows = beta[c_.stage.rank() + 1] - beta[c_.stage.rank()];
  const shard::Range heads = c_.states.shape(layer).value_heads;
  for (uint32_t h = heads.begin; h < heads.end; ++h) {
    layout.beta_cols.push_back(beta_col(fused ? FusedRow(c_.spec, h, false) : h));
    layout.alpha_cols.push_back(fused ? beta_col(FusedRow(c_.spec, h, true)) : alpha_col(h));
    layout.key_heads.push_back(KeyHeadOf(c_.spec, h));
  }
  auto& keys = layout.key_heads;
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  for (uint32_t h = heads.begin; h < heads.end; ++h)
    layout.key_of_value.push_back(RankOf(keys, KeyHeadOf(c_.spec, h)));
  MakeFilters(layer, &layout);
  return layout;
}

void GatedDeltaNet::MakeFilters(uint32_t layer, Layout* layout) const {
  const uint32_t channels = c_.states.shape(layer).channels();
  ONECOPY_CHECK(kernel_ <= kMostKernel && channels % kChannelsPerTask == 0);
  layout->filters.resize(size_t{kernel_} * channels);
  uint32_t channel = 0;
  for (const auto role : {Weight::LINEAR_CONV_Q, Weight::LINEAR_CONV_K, Weight::LINEAR_CONV_V}) {
    const kernels::PackedMatrix& matrix = c_.store.Matrix(role, layer);
    for (uint32_t row = 0; row < matrix.rows; ++row, ++channel) {
      float filter[kMostKernel];
      kernels::UnpackRow(matrix, row, filter);
      for (uint32_t j = 0; j < kernel_; ++j) layout->filters[size_t{j} * channels + channel] = filter[j];
    }
  }
  ONECOPY_CHECK(channel == channels);
}

void GatedDeltaNet::FindSequences(const proto::Step& step) {
  stretches_.clear();
  sequences_.clear();
  const auto n = static_cast<uint32_t>(step.tokens_size());
  for (uint32_t t = 0; t < n; ++t) {
    const uint32_t slot = step.slots(static_cast<int>(t));
    if (t > 0 && slot == stretches_.back().slot)
      ++stretches_.back().n;
    else
      stretches_.push_back({slot, t, 1});
  }
  std::stable_sort(stretches_.begin(), stretches_.end(),
                   [](const Stretch& a, const Stretch& b) { return a.slot < b.slot; });
  for (uint32_t s = 0; s < stretches_.size(); ++s) {
    if (s > 0 && stretches_[s].slot == stretches_[s - 1].slot) {
      ++sequences_.back().end;
    } else {
      const bool fresh = step.positions(static_cast<int>(stretches_[s].begin)) == 0;
      sequences_.push_back({s, s + 1, fresh});
    }
  }
}

void GatedDeltaNet::Project(uint32_t layer, Activations* x) {
  const Layout& layout = layouts_[layer];
  const shard::LinearStateShape& shape = c_.states.shape(layer);
  const size_t n = x->n_rows(), cols = layout.bounds.back(), values = shape.v_channels;
  float* mine = gathered_.ReserveAs<float>(n * cols) + layout.bounds[c_.stage.rank()];
  float* beta = mine + shape.q_channels + shape.k_channels;
  const bool fused = c_.store.Has(Weight::LINEAR_BETA_ALPHA, layer);
  products_ = {
      {&c_.store.Matrix(Weight::LINEAR_Q, layer), mine, cols},
      {&c_.store.Matrix(Weight::LINEAR_K, layer), mine + shape.q_channels, cols},
      {&c_.store.Matrix(Weight::LINEAR_V, layer), v_.ReserveAs<float>(n * values), values},
      {&c_.store.Matrix(Weight::LINEAR_Z, layer), z_.ReserveAs<float>(n * values), values},
      {&c_.store.Matrix(fused ? Weight::LINEAR_BETA_ALPHA : Weight::LINEAR_BETA, layer), beta, cols}};
  if (!fused)
    products_.push_back({&c_.store.Matrix(Weight::LINEAR_ALPHA, layer), beta + layout.beta_rows, cols});
  Linear(c_.table, c_.team, products_, x);
}

void GatedDeltaNet::Convolve(uint32_t layer, const Sequence& sequence, uint32_t first_channel) {
  constexpr uint32_t kN = kChannelsPerTask;
  const Layout& layout = layouts_[layer];
  const shard::LinearStateShape& shape = c_.states.shape(layer);
  const uint32_t channels = shape.channels(), gathered = shape.q_channels + shape.k_channels;
  const bool of_values = first_channel >= gathered;
  const size_t stride = of_values ? shape.v_channels : layout.bounds.back();
  float* x = of_values ? v_.As<float>() + first_channel - gathered
                       : gathered_.As<float>() + layout.bounds[c_.stage.rank()] + first_channel;
  float* saved = c_.states.Convolution(layer, stretches_[sequence.begin].slot) + first_channel;
  float window[kMostKernel][kN] = {}, ones[kN], filter[kMostKernel][kN];
  std::fill_n(ones, kN, 1.0f);
  for (uint32_t j = 0; j < kernel_; ++j) {
    std::copy_n(layout.filters.data() + size_t{j} * channels + first_channel, kN, filter[j]);
    if (j + 1 < kernel_ && !sequence.fresh) std::copy_n(saved + size_t{j} * channels, kN, window[j]);
  }
  for (uint32_t s = sequence.begin; s < sequence.end; ++s) {
    for (uint32_t t = stretches_[s].begin; t < stretches_[s].begin + stretches_[s].n; ++t) {
      float sum[kN] = {};
      std::copy_n(x + t * stride, kN, window[kernel_ - 1]);
      for (uint32_t j = 0; j < kernel_; ++j)
        for (uint32_t i = 0; i < kN; ++i) sum[i] += filter[j][i] * window[j][i];
      c_.table.silu_mul(sum, ones, kN, x + t * stride);
      std::memmove(window[0], window[1], (kernel_ - 1) * sizeof(window[0]));
    }
  }
  for (uint32_t j = 0; j + 1 < kernel_; ++j) std::copy_n(window[j], kN, saved + size_t{j} * channels);
}

void GatedDeltaNet::PrepareHeads(uint32_t layer, size_t token) {
  const Layout& layout = layouts_[layer];
  const float* row = gathered_.As<float>() + token * layout.bounds.back();
  const auto copy = [&](const std::vector<uint32_t>& part, uint32_t skip_q, uint32_t begin, float* to) {
    for (const uint32_t end = begin + key_dim_; begin < end;) {
      const uint32_t r = RankOf(part, begin), n = std::min(end, part[r + 1]) - begin;
      const uint32_t before = skip_q * (layout.q[r + 1] - layout.q[r]);
      to = std::copy_n(row + layout.bounds[r] + before + begin - part[r], n, to);
      begin += n;
    }
  };
  for (size_t i = 0; i < layout.key_heads.size(); ++i) {
    float* q = keys_.As<float>() + (token * layout.key_heads.size() + i) * 2 * key_dim_;
    copy(layout.q, 0, layout.key_heads[i] * key_dim_, q);
    copy(layout.k, 1, layout.key_heads[i] * key_dim_, q + key_dim_);
    Normalize(q, key_dim_, 1 / std::sqrt(static_cast<float>(key_dim_)));
    Normalize(q + key_dim_, key_dim_, 1);
  }
  const shard::Range heads = c_.states.shape(layer).value_heads;
  const auto a = c_.store.Vector(Weight::LINEAR_A, layer),
             dt_bias = c_.store.Vector(Weight::LINEAR_DT_BIAS, layer);
  for (uint32_t h = 0; h < heads.size(); ++h) {
    float* gate = gates_.As<float>() + (token * heads.size() + h) * 2;
    const float alpha = row[layout.alpha_cols[h]] + dt_bias[heads.begin + h];
    gate[0] = std::exp(a[heads.begin + h] * Softplus(alpha));
    gate[1] = 1 / (1 + std::exp(-row[layout.beta_cols[h]]));
  }
}

void GatedDeltaNet::UpdateState(uint32_t layer, const Sequence& sequence, uint32_t head,
                                uint32_t first_value) {
  const Layout& layout = layouts_[layer];
  const shard::LinearStateShape& shape = c_.states.shape(layer);
  const size_t key_stride = layout.key_heads.size() * 2 * key_dim_, n_heads = shape.value_heads.size();
  kernels::GatedDelta run = {};
  run.key_dim = key_dim_;
  run.qk_stride = key_stride;
  run.v_stride = run.out_stride = shape.v_channels;
  run.gate_stride = 2 * n_heads;
  run.state = c_.states.Heads(layer, stretches_[sequence.begin].slot) + head * shape.head_floats +
              size_t{first_value} * key_dim_;
  if (sequence.fresh) std::fill_n(run.state, kernels::kDeltaValues * key_dim_, 0.0f);
  for (uint32_t s = sequence.begin; s < sequence.end; ++s) {
    const size_t t = stretches_[s].begin;
    run.n_tokens = stretches_[s].n;
    run.q = keys_.As<float>() + t * key_stride + size_t{layout.key_of_value[head]} * 2 * key_dim_;
    run.k = run.q + key_dim_;
    run.decay = gates_.As<float>() + (t * n_heads + head) * 2;
    run.beta = run.decay + 1;
    run.out = v_.As<float>() + t * shape.v_channels + size_t{head} * value_dim_ + first_value;
    run.v = run.out;
    c_.table.gated_delta(run);
  }
}

void GatedDeltaNet::Gate(uint32_t layer, size_t token) {
  const shard::LinearStateShape& shape = c_.states.shape(layer);
  const auto norm = c_.store.Vector(Weight::LINEAR_NORM, layer);
  for (uint32_t h = 0; h < shape.value_heads.size(); ++h) {
    float* read = v_.As<float>() + token * shape.v_channels + size_t{h} * value_dim_;
    float* z = z_.As<float>() + token * shape.v_channels + size_t{h} * value_dim_;
    c_.table.rms_norm(read, norm.data(), c_.spec.rms_norm_eps(), value_dim_, read);
    c_.table.silu_mul(z, read, value_dim_, z);
  }
}

const float* GatedDeltaNet::Run(const proto::Step& step, uint32_t layer, Activations* x) {
  const size_t n = step.tokens_size();
  const Layout& layout = layouts_[layer];
  const shard::LinearStateShape& shape = c_.states.shape(layer);
  FindSequences(step);
  clock_->Enter(Phase::kAttentionMatmul);
  Project(layer, x);
  clock_->Enter(Phase::kRest);
  const size_t n_blocks = shape.channels() / kChannelsPerTask;
  c_.team.For(sequences_.size() * n_blocks, [&](size_t task, int) {
    Convolve(layer, sequences_[task / n_blocks], static_cast<uint32_t>(task % n_blocks) * kChannelsPerTask);
  });
  clock_->Enter(Phase::kCollective);
  c_.stage.AllGatherColumns(gathered_.As<float>(), n, layout.bounds);
  const uint32_t n_heads = shape.value_heads.size();
  if (n_heads == 0) return z_.As<float>();
  clock_->Enter(Phase::kRest);
  keys_.ReserveAs<float>(n * layout.key_heads.size() * 2 * key_dim_);
  gates_.ReserveAs<float>(n * n_heads * 2);
  c_.team.For(n, [&](size_t t, int) { PrepareHeads(layer, t); });
  clock_->Enter(Phase::kAttention);
  const uint32_t groups = value_dim_ / kernels::kDeltaValues;
  c_.team.For(sequences_.size() * n_heads * groups, [&](size_t task, int) {
    const auto group = static_cast<uint32_t>(task % groups);
    const auto head = static_cast<uint32_t>(task / groups % n_heads);
    UpdateState(layer, sequences_[task / groups / n_heads], head, group * kernels::kDeltaValues);
  });
  c_.team.For(n, [&](size_t t, int) { Gate(layer, t); });
  return z_.As<float>();
}

}  // namespace onecopy::exec
