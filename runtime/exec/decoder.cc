#include "runtime/exec/decoder.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/exec/router.h"
#include "runtime/exec/row_bounds.h"
#include "runtime/shard/pipeline.h"
#include "runtime/shard/plan.h"

namespace onecopy::exec {
namespace {

using proto::Weight;

Weight::Role HeadRole(const proto::ModelSpec& spec) {
  return spec.tied_embeddings() ? Weight::TOKEN_EMBEDDING : Weight::LM_HEAD;
}

}  // namespace

Decoder::Decoder(const DecoderContext& context)
    : c_(context),
      stage_(shard::StageOfRank(context.plan, context.all.rank())),
      last_stage_(shard::NumStages(context.plan) - 1),
      embedding_stage_(shard::EmbeddingStage(context.spec, last_stage_ + 1)),
      hidden_(context.spec.hidden_dim()),
      head_dim_(context.spec.head_dim()),
      v_dim_(shard::ValueDim(context.spec)),
      rotation_(context.spec, context.table, context.store.Vector(Weight::ROPE_FACTORS, 0)),
      attention_(context.spec, context.table, context.team),
      mla_(context, &clock_),
      delta_(context, &clock_),
      ffn_(context.spec, context.store, context.table, context.team),
      counter_(context.spec, context.plan, context.store, context.table, context.cache, context.all.rank()) {
  c_.stage.SetTeam([&team = c_.team](size_t n, const std::function<void(size_t)>& body) {
    team.For(n, [&](size_t i, int) { body(i); });
  });
  if (stage_ == embedding_stage_)
    embedding_bounds_ = RowBounds(c_.spec, c_.plan, Weight::TOKEN_EMBEDDING, 0, stage_);
  if (stage_ == last_stage_) logit_bounds_ = RowBounds(c_.spec, c_.plan, HeadRole(c_.spec), 0, stage_);
  layouts_.resize(c_.spec.n_layers());
  const shard::Range layers = shard::LayersOfStage(c_.plan, stage_);
  for (uint32_t l = layers.begin; l < layers.end; ++l) {
    Layout& layout = layouts_[l];
    if (c_.spec.kv_lora_rank() == 0 && !c_.store.Has(Weight::LINEAR_O, l)) {
      std::vector<uint32_t> heads;
      if (c_.spec.qk_norm_over_heads()) {
        heads = RowBounds(c_.spec, c_.plan, Weight::ATTN_Q, l, stage_);
        for (uint32_t& bound : heads) bound /= static_cast<uint32_t>(head_dim_);
      }
      layout.kv = {RowBounds(c_.spec, c_.plan, Weight::ATTN_K, l, stage_),
                   RowBounds(c_.spec, c_.plan, Weight::ATTN_V, l, stage_), std::move(heads)};
    }
    if (c_.store.Has(Weight::ROUTER, l))
      layout.router = RowBounds(c_.spec, c_.plan, Weight::ROUTER, l, stage_);
  }
}

Decoder::~Decoder() = default;

std::span<const float> Decoder::Forward(const proto::Step& step) {
  const size_t n = step.tokens_size();
  const double waited = WaitSeconds();
  const ThreadTeam::Work worked = c_.team.work();
  clock_.Start(Phase::kRest);
  counter_.Begin(step, ExpandedChunk(c_, step));
  acts_.set_prefill(step.prefill());
  x_.ReserveAs<float>(n * hidden_);
  normed_.ReserveAs<float>(n * hidden_);
  partial_.ReserveAs<double>(n * hidden_);
  rotation_.SetStep(step, c_.team);

  const std::span<float> x = {x_.As<float>(), n * hidden_};
  if (stage_ == embedding_stage_) Embed(step);
  clock_.Enter(Phase::kCollective);
  if (embedding_stage_ != 0) {  // then the last one, ahead of all that follows
    if (stage_ == embedding_stage_) SendRows(x, 0);
    if (stage_ == 0) ReceiveRows(x, embedding_stage_);
  }
  if (stage_ > 0) ReceiveRows(x, stage_ - 1);
  clock_.Enter(Phase::kRest);
  const shard::Range layers = shard::LayersOfStage(c_.plan, stage_);
  Norm(x.data(), c_.store.Vector(Weight::ATTN_NORM, layers.begin), n);
  for (uint32_t l = layers.begin; l < layers.end; ++l) {
    Attention(step, l);
    FeedForward(l, n);
    if (observer_) observer_(l + 1, x);
  }
  // With one stage after the other at work on different steps: whoever has sent goes on with the next step.
  clock_.Enter(Phase::kCollective);
  if (stage_ < last_stage_) SendRows(x, stage_ + 1);
  clock_.Enter(Phase::kHead);
  const std::span<const float> logits = Logits(step);
  clock_.Stop();
  ++times_.steps;
  times_.tokens += n;
  times_.bytes_read += counter_.counts().weight_bytes + counter_.counts().kv_bytes;
  times_.wait_seconds += WaitSeconds() - waited;
  times_.team_wall_seconds += c_.team.work().wall_seconds - worked.wall_seconds;
  times_.team_work_seconds += c_.team.work().mean_seconds - worked.mean_seconds;
  return logits;
}

// Split communicators count for themselves.
double Decoder::WaitSeconds() const {
  const double stage = c_.stage.stats().wait_seconds;
  return &c_.all == &c_.stage ? stage : stage + c_.all.stats().wait_seconds;
}

void Decoder::SendRows(std::span<const float> rows, int to_stage) {
  if (c_.stage.rank() != 0) return;
  c_.all.Send({reinterpret_cast<const uint8_t*>(rows.data()), rows.size_bytes()},
              static_cast<int>(shard::RanksOfStage(c_.plan, to_stage).begin));
}

void Decoder::ReceiveRows(std::span<float> rows, int from_stage) {
  const std::span<uint8_t> bytes = {reinterpret_cast<uint8_t*>(rows.data()), rows.size_bytes()};
  const bool first = c_.stage.rank() == 0;
  if (first) c_.all.Receive(bytes, static_cast<int>(shard::RanksOfStage(c_.plan, from_stage).begin));
  if (c_.stage.size() == 1) return;
  if (first) message_.assign(bytes.begin(), bytes.end());
  c_.stage.Broadcast(&message_, 0);
  if (!first) std::copy(message_.begin(), message_.end(), bytes.begin());
}

// Each rank puts the rows it owns; the sum with everybody's zeros is the row.
void Decoder::Embed(const proto::Step& step) {
  const size_t n = step.tokens_size();
  auto* x = x_.As<float>();
  const auto& embedding = c_.store.Matrix(Weight::TOKEN_EMBEDDING, 0);
  const shard::Range mine = {embedding_bounds_[c_.stage.rank()], embedding_bounds_[c_.stage.rank() + 1]};
  c_.team.For(n, [&](size_t t, int) {
    const auto token = static_cast<uint32_t>(step.tokens(static_cast<int>(t)));
    if (token >= mine.begin && token < mine.end) {
      kernels::UnpackRow(embedding, token - mine.begin, x + t * hidden_);
      Scale(c_.spec.embedding_scale(), hidden_, x + t * hidden_);
    } else {
      std::fill_n(x + t * hidden_, hidden_, 0.0f);
    }
  });
  clock_.Enter(Phase::kCollective);
  c_.stage.AllReduceSum({x, n * hidden_});
  clock_.Enter(Phase::kRest);
  if (observer_) observer_(0, {x, n * hidden_});
}

void Decoder::Norm(const float* x, std::span<const float> weight, size_t n) {
  auto* normed = normed_.As<float>();
  c_.team.For(n, [&](size_t t, int) {
    c_.table.rms_norm(x + t * hidden_, weight.data(), c_.spec.rms_norm_eps(), hidden_, normed + t * hidden_);
  });
  acts_.Set(normed, n, hidden_, hidden_);
}

// x += sum over ranks of partial. The parts and their sum are double, so that x, whatever the number of ranks, is the
// same float (kernels.h, MatmulSumFn): a last bit that differed would now and then fall on the other side of a
// rounding to int8, and from there on the ranks' answers would drift apart by the whole noise of 8-bit activations.
void Decoder::AllReduceAdd(size_t n, std::span<const float> next_norm) {
  auto *x = x_.As<float>(), *normed = normed_.As<float>();
  if (c_.spec.residual_scale() != 0)
    c_.team.For(n, [&](size_t t, int) {
      Scale(c_.spec.residual_scale(), hidden_, partial_.As<double>() + t * hidden_);
    });
  // Alone, nothing is exchanged: what is left are the sums and norms.
  clock_.Enter(c_.stage.size() == 1 ? Phase::kRest : Phase::kCollective);
  c_.stage.AllReduceRows({partial_.As<double>(), n * hidden_}, hidden_, [&](size_t t, const double* sums) {
    float* row = x + t * hidden_;
    c_.table.add_sums(sums, hidden_, row);
    if (!next_norm.empty())
      c_.table.rms_norm(row, next_norm.data(), c_.spec.rms_norm_eps(), hidden_, normed + t * hidden_);
  });
  acts_.Set(normed, n, hidden_, hidden_);
}

void Decoder::Attention(const proto::Step& step, uint32_t layer) {
  const size_t n = step.tokens_size();
  const bool linear = c_.store.Has(Weight::LINEAR_O, layer);
  const float* attended = linear ? delta_.Run(step, layer, &acts_)
                          : c_.spec.kv_lora_rank() > 0
                              ? mla_.Run(step, layer, &acts_, rotation_.CosSin(layer))
                              : AttendGqa(step, layer);
  clock_.Enter(Phase::kAttentionMatmul);
  auto* partial = partial_.As<double>();
  const auto& o = c_.store.Matrix(linear ? Weight::LINEAR_O : Weight::ATTN_O, layer);
  if (o.rows == 0) std::fill_n(partial, n * hidden_, 0.0);
  acts_.Set(attended, n, o.cols, o.cols);
  LinearSum(c_.table, c_.team, o, &acts_, partial, hidden_);
  const auto bias = c_.store.Vector(Weight::ATTN_O_BIAS, layer);
  if (!bias.empty() && c_.stage.rank() == 0)  // one rank's term has it
    c_.team.For(n, [&](size_t t, int) {
      for (size_t i = 0; i < hidden_; ++i) partial[t * hidden_ + i] += bias[i];
    });
  AllReduceAdd(n, c_.store.Vector(Weight::FFN_NORM, layer));
}

// The logits of the shared expert's gate, where it has one; every rank computes all of them.
std::span<const float> Decoder::SharedGates(uint32_t layer, size_t n) {
  const auto gate = c_.store.Vector(Weight::SHARED_INPUT_GATE, layer);
  if (gate.empty()) return {};
  auto* logits = shared_gates_.ReserveAs<float>(n);
  c_.team.For(n, [&](size_t t, int) {
    const float* x = normed_.As<float>() + t * hidden_;
    double sum = 0;
    for (size_t i = 0; i < hidden_; ++i) sum += double{gate[i]} * x[i];
    logits[t] = static_cast<float>(sum);
  });
  return {logits, n};
}

void Decoder::FeedForward(uint32_t layer, size_t n) {
  auto* partial = partial_.As<double>();
  const auto& router_bounds = layouts_[layer].router;
  if (router_bounds.empty()) {
    clock_.Enter(Phase::kExperts);
    RouteAll(n, &routing_);
    ffn_.Run(Ffn::kDense, layer, routing_, &acts_, partial, hidden_);
  } else {
    clock_.Enter(Phase::kRouter);
    const size_t n_experts = c_.spec.n_experts();
    auto* scores = scores_.ReserveAs<float>(n * n_experts);
    Linear(c_.table, c_.team, c_.store.Matrix(Weight::ROUTER, layer), &acts_,
           scores + router_bounds[c_.stage.rank()], n_experts);
    clock_.Enter(Phase::kCollective);
    c_.stage.AllGatherColumns(scores, n, router_bounds);
    clock_.Enter(Phase::kRouter);
    RouteTopK(
        c_.spec, c_.table, c_.team,
        {c_.store.Vector(Weight::ROUTER_LOGIT_BIAS, layer), c_.store.Vector(Weight::ROUTER_BIAS, layer)},
        scores, n, &routing_);
    counter_.CountExperts(layer, routing_);
    if (c_.store.Has(Weight::SHARED_GATE, layer)) RouteShared(n, SharedGates(layer, n), &routing_);
    clock_.Enter(Phase::kExperts);
    ffn_.Run(Ffn::kExperts, layer, routing_, &acts_, partial, hidden_);
  }
  const bool last = layer + 1 == shard::LayersOfStage(c_.plan, stage_).end;
  AllReduceAdd(n, last ? std::span<const float>() : c_.store.Vector(Weight::ATTN_NORM, layer + 1));
}

std::span<const float> Decoder::Logits(const proto::Step& step) {
  const size_t n = step.logit_rows_size(), vocab = c_.spec.vocab_size();
  if (n == 0) return {};
  const bool leads = c_.all.rank() == 0;
  if (stage_ != last_stage_ && !leads) return {};
  const std::span<float> logits = {logits_.ReserveAs<float>(n * vocab), n * vocab};
  if (stage_ == last_stage_) {
    auto *x = x_.As<float>(), *rows = partial_.ReserveAs<float>(n * hidden_);
    for (size_t i = 0; i < n; ++i)
      std::copy_n(x + step.logit_rows(static_cast<int>(i)) * hidden_, hidden_, rows + i * hidden_);
    Norm(rows, c_.store.Vector(Weight::OUTPUT_NORM, 0), n);
    Linear(c_.table, c_.team, c_.store.Matrix(HeadRole(c_.spec), 0), &acts_,
           logits.data() + logit_bounds_[c_.stage.rank()], vocab);
    const shard::Range mine = {logit_bounds_[c_.stage.rank()], logit_bounds_[c_.stage.rank() + 1]};
    for (size_t i = 0; i < n; ++i)
      Scale(c_.spec.logit_scale(), mine.size(), logits.data() + i * vocab + mine.begin);
    clock_.Enter(Phase::kCollective);
    const bool wanted = c_.stage.rank() == 0;
    c_.stage.AllGatherColumns(logits.data(), n, logit_bounds_, wanted);
    if (!wanted) return {};
    if (last_stage_ != 0) SendRows(logits, 0);
  } else {
    clock_.Enter(Phase::kCollective);
    const auto from = static_cast<int>(shard::RanksOfStage(c_.plan, last_stage_).begin);
    c_.all.Receive({reinterpret_cast<uint8_t*>(logits.data()), logits.size_bytes()}, from);
  }
  return logits;
}

}  // namespace onecopy::exec
