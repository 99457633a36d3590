// The phases and regions below are those of exec/decoder.cc, exec/ffn.cc and exec/linear.cc: where those change what is
// computed between two exchanges, or in how many tasks, this file follows.
#include "runtime/shard/predict.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/check.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/exchange_time.h"
#include "runtime/shard/latent_forms.h"
#include "runtime/shard/pipeline.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/traffic.h"

namespace onecopy::shard {
namespace {

using proto::Weight;

// What is computed between two exchanges.
enum Phase { kEmbed, kProject, kAttend, kRoute, kFeedForward, kHead, kNumPhases };

Phase PhaseOf(Weight::Role role, bool tied_embeddings) {
  switch (role) {
    case Weight::TOKEN_EMBEDDING:
      return tied_embeddings ? kHead : kEmbed;
    case Weight::LM_HEAD:
      return kHead;
    case Weight::ATTN_O:
    case Weight::LINEAR_O:
      return kAttend;
    case Weight::ROUTER:
      return kRoute;
    case Weight::EXPERT_GATE:
    case Weight::EXPERT_UP:
    case Weight::EXPERT_DOWN:
    case Weight::DENSE_GATE:
    case Weight::DENSE_UP:
    case Weight::DENSE_DOWN:
    case Weight::SHARED_GATE:
    case Weight::SHARED_UP:
    case Weight::SHARED_DOWN:
      return kFeedForward;
    default:
      return kProject;
  }
}

bool IsGate(Weight::Role role) {
  return role == Weight::EXPERT_GATE || role == Weight::DENSE_GATE || role == Weight::SHARED_GATE;
}

// Vectors of the experts, which are read with their matrices and cost no product.
bool IsExpertBias(Weight::Role role) {
  return role == Weight::EXPERT_GATE_BIAS || role == Weight::EXPERT_UP_BIAS ||
         role == Weight::EXPERT_DOWN_BIAS;
}

// A few factors a channel, which cost no product either.
bool IsConvolution(Weight::Role role) {
  return role == Weight::LINEAR_CONV_Q || role == Weight::LINEAR_CONV_K || role == Weight::LINEAR_CONV_V;
}

bool IsDown(Weight::Role role) {
  return role == Weight::EXPERT_DOWN || role == Weight::DENSE_DOWN || role == Weight::SHARED_DOWN;
}

// Work that a rank's threads share out: matrices, or pieces of vectors.
struct Region {
  double thread_seconds = 0;  // of one thread doing all of it
  double bytes = 0;           // read from memory
  double tasks = 0;
  double jumps = 0;  // times that a thread goes on elsewhere in memory
};

// The gate and up matrices of a layer's FFN are one region, its down matrices another.
struct FfnLoad {
  Region gate_up, down;
  double rows = 0;      // of all gate matrices in use
  double matrices = 0;  // in use
  double entries = 0;   // (token, expert) pairs in this rank
  double inner = 0;     // elements between gate and down, over all entries
  double tokens = 1;    // most of one matrix
};

// As exec::RowsPerTask.
double RowsPerTask(double rows, double tokens, int threads) {
  constexpr double kTile = 32;
  const double even = std::ceil(rows / (4 * threads) / kTile) * kTile;
  return std::clamp(even, kTile, (tokens > 8 ? 2 : 16) * kTile);
}

class StepPredictor {
 public:
  StepPredictor(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const kernels::KernelTable& table,
                const MachineModel& machine, const StepShape& step)
      : spec_(spec),
        plan_(plan),
        table_(table),
        machine_(machine),
        step_(step),
        n_ranks_(static_cast<int>(plan.ranks())),
        n_(step.tokens),
        times_(spec.n_layers() + 1,
               std::vector<std::vector<StepTime>>(kNumPhases, std::vector<StepTime>(n_ranks_))),
        ffns_(spec.n_layers(), std::vector<FfnLoad>(n_ranks_)) {
    ONECOPY_CHECK(machine.ranks.size() == static_cast<size_t>(n_ranks_));
  }

  StepTime Run() {
    for (int w = 0; w < spec_.weights_size(); ++w)
      if (plan_.placements(w).axis() != proto::WeightPlacement::REPLICATED) AddWeight(w);
    StepTime total;
    for (int r = 0; r < n_ranks_; ++r) AddVectors(r);
    for (const auto& phases : times_)
      for (const auto& ranks : phases) total += Slowest(ranks);
    total.collectives = ExchangeSeconds(spec_, plan_, machine_, step_);
    return total;
  }

 private:
  static StepTime Slowest(const std::vector<StepTime>& ranks) {
    return *std::max_element(ranks.begin(), ranks.end(),
                             [](const StepTime& a, const StepTime& b) { return a.Total() < b.Total(); });
  }
  // The embedding and the head come last.
  std::vector<StepTime>& At(Phase phase, uint32_t layer) {
    return times_[phase == kEmbed || phase == kHead ? spec_.n_layers() : layer][phase];
  }

  // Until all threads have ended: the work, bound by the last of the tasks and by memory.
  double Seconds(const Region& region, int rank) const {
    if (region.tasks <= 0) return 0;
    const RankMachine& m = machine_.ranks[rank];
    const double turns = std::ceil(region.tasks / m.threads);
    const double alone = region.thread_seconds + region.jumps * machine_.jump_seconds;
    return std::max(alone / m.core_share * turns / region.tasks, region.bytes / m.read_bandwidth);
  }
  double Opening(const Region& region, int rank) const {
    const RankMachine& m = machine_.ranks[rank];
    return m.threads > 1 && region.tasks > 1 ? m.region_seconds : 0;
  }
  void AddMatrices(const Region& region, int rank, StepTime* to) const {
    to->weights += Seconds(region, rank);
    to->fixed += Opening(region, rank);
  }
  // `seconds` of one thread, over the step's tokens in pieces of `tokens_a_task`.
  double OverTokens(double seconds, double tokens_a_task, int rank) const {
    const Region region = {seconds, 0, std::ceil(n_ / tokens_a_task)};
    return Seconds(region, rank) + Opening(region, rank);
  }

  // A matrix times `tokens` vectors, by one thread.
  double MatmulSeconds(const kernels::PackedMatrix& m, bool sum, double tokens) const {
    const MatmulRate& rate = machine_.matmul[static_cast<size_t>(m.type)][sum];
    ONECOPY_CHECK(!rate.points.empty());
    const double elements = static_cast<double>(m.rows) * m.cols;
    const double cached = elements * tokens / rate.RateAt(tokens);
    if (rate.from_memory > 0) return std::max(cached, elements / rate.from_memory);
    if (machine_.core_read_bandwidth <= 0) return cached;
    return std::max(cached, static_cast<double>(kernels::PackedBytes(m)) / machine_.core_read_bandwidth);
  }

  void AddWeight(int w) {
    const Weight& weight = spec_.weights(w);
    const Phase phase = PhaseOf(weight.role(), spec_.tied_embeddings());
    if (phase == kEmbed || IsExpertBias(weight.role()) || IsConvolution(weight.role())) return;
    double used = 1, tokens = phase == kHead ? step_.logit_rows : n_;
    if (weight.n_experts() > 0) {
      // A token's experts are as good as drawn by lot.
      const double share = static_cast<double>(spec_.n_experts_used()) / spec_.n_experts();
      used = 1 - std::pow(1 - share, n_);
      tokens = n_ * share / used;
    }
    if (tokens <= 0) return;
    const bool sum = plan_.placements(w).axis() == proto::WeightPlacement::COLS;
    for (const LikeExperts& alike : GroupByCut(weight, plan_.placements(w))) {
      for (int r = 0; r < n_ranks_; ++r) {
        const kernels::PackedMatrix m = ShardShape(spec_, plan_, table_, w, alike.expert, r);
        if (m.rows == 0) continue;
        const double count = used * alike.count;
        const Region part = {count * MatmulSeconds(m, sum, tokens),
                             count * static_cast<double>(kernels::PackedBytes(m)), 0};
        if (phase == kFeedForward)
          AddToFfn(weight, m, count, tokens, part, &ffns_[weight.layer()][r]);
        else
          AddMatrices(Linear(part, Tasks(m.rows, tokens, r)), r, &At(phase, weight.layer())[r]);
      }
    }
  }
  // Tasks are pieces of one matrix, dealt in turns.
  static Region Linear(const Region& part, double tasks) {
    return {part.thread_seconds, part.bytes, tasks, tasks};
  }
  double Tasks(double rows, double tokens, int rank) const {
    return std::ceil(rows / RowsPerTask(rows, tokens, machine_.ranks[rank].threads));
  }

  static void AddToFfn(const Weight& weight, const kernels::PackedMatrix& m, double count, double tokens,
                       const Region& part, FfnLoad* to) {
    Region* region = IsDown(weight.role()) ? &to->down : &to->gate_up;
    region->thread_seconds += part.thread_seconds;
    region->bytes += part.bytes;
    to->tokens = std::max(to->tokens, tokens);
    if (!IsGate(weight.role())) return;
    to->rows += count * m.rows;
    to->matrices += count;
    to->entries += count * tokens;
    to->inner += count * tokens * m.rows;
  }

  void AddFfn(uint32_t layer, int rank) {
    FfnLoad& ffn = ffns_[layer][rank];
    StepTime* time = &At(kFeedForward, layer)[rank];
    const int threads = machine_.ranks[rank].threads;
    const double hidden = spec_.hidden_dim();
    if (ffn.matrices > 0) {
      const double step = RowsPerTask(ffn.rows, ffn.tokens, threads);
      ffn.gate_up.tasks = std::ceil(ffn.matrices * std::ceil(ffn.rows / ffn.matrices / step));
      ffn.down.tasks = Tasks(hidden, ffn.tokens, rank);
      ffn.gate_up.jumps = 2 * ffn.gate_up.tasks;
      ffn.down.jumps = ffn.matrices * ffn.down.tasks;
      AddMatrices(ffn.gate_up, rank, time);
      AddMatrices(ffn.down, rank, time);
      const VectorCosts& v = machine_.vectors;
      const Region between = {ffn.inner * (v.silu + v.quantize), 0, std::ceil(ffn.entries / 4)};
      const Region adding = {ffn.entries * hidden * v.add, 0, ffn.down.tasks};
      time->fixed += Seconds(between, rank) + Opening(between, rank) + Seconds(adding, rank);
    }
  }

  void AddVectors(int rank) {
    const VectorCosts& v = machine_.vectors;
    const double hidden = spec_.hidden_dim(), head_dim = spec_.head_dim();
    const double v_dim = spec_.v_head_dim() > 0 ? spec_.v_head_dim() : spec_.head_dim();
    At(kEmbed, 0)[rank].fixed += OverTokens(n_ * hidden * v.norm, 1, rank);
    At(kHead, 0)[rank].fixed +=
        step_.logit_rows * hidden * (v.norm + v.quantize) / machine_.ranks[rank].core_share;
    const double norm =
        OverTokens(n_ * hidden * v.norm, 1, rank) + OverTokens(n_ * hidden * v.quantize, 8, rank);
    const double residual = OverTokens(n_ * hidden * v.add, 1, rank);
    const Range layers = LayersOfStage(plan_, StageOfRank(plan_, rank));
    for (uint32_t l = layers.begin; l < layers.end; ++l) {
      const double heads = OwnedHeads(plan_, l, rank).size();
      At(kProject, l)[rank].fixed += norm;
      StepTime* attend = &At(kAttend, l)[rank];
      if (IsLinearLayer(spec_, l)) {
        AddLinearAttention(l, rank, residual, attend);
        At(kRoute, l)[rank].fixed += norm;
        AddRouting(l, rank, residual);
        continue;
      }
      // Of each head: norm, rotation and scale; later its output is quantised.
      attend->fixed += OverTokens(n_ * heads * head_dim * 2 * v.norm, 1, rank) +
                       OverTokens(n_ * heads * v_dim * v.quantize, 8, rank) + residual;
      AddAttention(l, rank, attend);
      At(kRoute, l)[rank].fixed += norm;
      AddRouting(l, rank, residual);
    }
  }

  void AddRouting(uint32_t layer, int rank, double residual) {
    // Every rank routes all tokens, on one thread: a softmax, and about as much for the choice.
    At(kFeedForward, layer)[rank].fixed +=
        n_ * spec_.n_experts() * 2 * machine_.vectors.softmax / machine_.ranks[rank].core_share + residual;
    AddFfn(layer, rank);
  }

  void AddLinearAttention(uint32_t layer, int rank, double residual, StepTime* time) {
    const VectorCosts& v = machine_.vectors;
    const LinearStateShape state = StateShape(spec_, plan_, layer, rank);
    const double heads = state.value_heads.size();
    // Convolution and SiLU of each channel; of each head norms, a gate, and later its output quantised.
    time->fixed +=
        OverTokens(n_ * state.channels() * (v.silu + spec_.linear_conv_kernel() * v.add), 1, rank) +
        OverTokens(n_ * heads *
                       (spec_.linear_value_head_dim() * (v.norm + v.silu) +
                        2.0 * spec_.linear_key_head_dim() * v.norm),
                   1, rank) +
        OverTokens(n_ * state.v_channels * v.quantize, 8, rank) + residual;
    if (heads == 0) return;
    // An element of the state is decayed, summed up, added to and summed up: twice what one of a key and a value costs.
    Region region;
    region.thread_seconds = n_ * heads * static_cast<double>(state.head_floats) * 2 * v.attend;
    region.bytes = 2 * heads * static_cast<double>(state.head_floats) * sizeof(float);  // read and written
    region.tasks = heads * spec_.linear_value_head_dim() / kernels::kDeltaValues;
    time->attention += Seconds(region, rank);
    time->fixed += Opening(region, rank);
  }

  double FullLayers(const Range& layers) const {
    double n = 0;
    for (uint32_t l = layers.begin; l < layers.end; ++l) n += !IsLinearLayer(spec_, l);
    return n;
  }

  // Pairs of a token and a position that it attends to.
  double Attended(uint32_t layer) const {
    const double all = n_ * step_.position + n_ * (n_ + 1) / 2;
    const auto& sliding = spec_.sliding_layers();
    // A token sees half of its chunk on average, where the sequence has gone through some.
    const double window =
        spec_.attention_chunk() > 0 ? spec_.attention_chunk() / 2.0 : spec_.sliding_window();
    if (window == 0 || std::find(sliding.begin(), sliding.end(), layer) == sliding.end()) return all;
    return std::min(all, n_ * window);
  }

  // Elements of a key and of a value that a head goes through. Latent attention has a score over latent and rotated part,
  // and a sum over the latent; where it is expanded, the products that make keys and values of earlier positions count
  // too (those of the step's own are the weights').
  double HeadElements(double attended) const {
    if (spec_.kv_lora_rank() == 0) return attended * spec_.head_dim();
    const Chunk chunk = {static_cast<uint64_t>(n_), static_cast<uint64_t>(step_.position)};
    if (n_ <= 1 || !IsExpanded(spec_, plan_, chunk))
      return attended * (spec_.kv_lora_rank() + spec_.qk_rope_head_dim() / 2.0);
    return (static_cast<double>(ExpandedMultiplyAdds(spec_, chunk)) -
            n_ * spec_.kv_lora_rank() * (spec_.qk_nope_head_dim() + spec_.v_head_dim())) /
           2;
  }

  void AddAttention(uint32_t layer, int rank, StepTime* time) {
    constexpr double kChunkTokens = 512;  // exec/attention_gqa.h
    const Range heads = OwnedHeads(plan_, layer, rank);
    if (heads.size() == 0) return;
    const double kv_heads = std::max(1u, OwnedKvHeads(spec_, plan_, layer, rank).size());
    const double attended = Attended(layer);
    Region region;
    region.thread_seconds = heads.size() * HeadElements(attended) * machine_.vectors.attend;
    // Positions of one chunk of the cache stay in the caches while the step's tokens attend to them.
    region.bytes = std::min<double>(step_.position + n_, attended) *
                   static_cast<double>(plan_.totals(rank).kv_bytes_per_token()) /
                   FullLayers(LayersOfStage(plan_, StageOfRank(plan_, rank)));
    const double pairs = n_ * kv_heads;
    const bool by_chunk = pairs < 4.0 * machine_.ranks[rank].threads;
    region.tasks = by_chunk ? pairs * std::ceil((step_.position + n_) / kChunkTokens) : pairs;
    time->attention += Seconds(region, rank);
    time->fixed += (by_chunk ? 2 : 1) * Opening(region, rank);
  }

  const proto::ModelSpec& spec_;
  const proto::ShardPlan& plan_;
  const kernels::KernelTable& table_;
  const MachineModel& machine_;
  const StepShape step_;
  const int n_ranks_;
  const double n_;
  std::vector<std::vector<std::vector<StepTime>>> times_;  // [layer][phase][rank]
  std::vector<std::vector<FfnLoad>> ffns_;                 // [layer][rank]
};

}  // namespace

double MatmulRate::RateAt(double tokens) const {
  if (tokens <= points.front().tokens) return points.front().rate;
  for (size_t i = 1; i < points.size(); ++i) {
    const Point &a = points[i - 1], &b = points[i];
    if (tokens > b.tokens) continue;
    const double at = std::log(tokens / a.tokens) / std::log(b.tokens / a.tokens);
    return a.rate + at * (b.rate - a.rate);
  }
  return points.back().rate;
}

StepTime& StepTime::operator+=(const StepTime& other) {
  weights += other.weights;
  attention += other.attention;
  collectives += other.collectives;
  fixed += other.fixed;
  return *this;
}

StepTime PredictStep(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                     const kernels::KernelTable& table, const MachineModel& machine, const StepShape& step) {
  return StepPredictor(spec, plan, table, machine, step).Run();
}

Prediction Predict(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                   const kernels::KernelTable& table, const MachineModel& machine, uint32_t depth) {
  Prediction prediction;
  prediction.decode = PredictStep(spec, plan, table, machine, {1, depth, 1});
  prediction.prefill = PredictStep(spec, plan, table, machine, {kPredictedChunk, 0, 1});
  prediction.decode_tokens_per_second = 1 / prediction.decode.Total();
  prediction.prefill_tokens_per_second = kPredictedChunk / prediction.prefill.Total();
  return prediction;
}

}  // namespace onecopy::shard
