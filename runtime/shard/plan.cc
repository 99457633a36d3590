#include "runtime/shard/plan.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/apportion.h"
#include "runtime/shard/pipeline.h"
#include "runtime/shard/plan_cut.h"

namespace onecopy::shard {
namespace {

using proto::Weight;
using proto::WeightPlacement;

// Bytes of `rows` x `cols` of a weight, in the file's blocks: exact enough to balance loads by.
double FileBytes(const Weight& weight, double rows, double cols) {
  const kernels::TypeInfo& info = kernels::Info(TypeOf(weight));
  return rows * cols * info.block_bytes / info.block_cols;
}

class Planner {
 public:
  Planner(const proto::ModelSpec& spec, const kernels::KernelTable& table, const PlanOptions& options)
      : spec_(spec), table_(table), kv_tokens_(options.kv_tokens) {
    plan_.set_ranks(options.ranks);
    MakeStages(options);
    for (const Weight& weight : spec.weights()) {
      auto* placement = plan_.add_placements();
      placement->set_axis(CutOf(weight.role()).axis);
      if (placement->axis() != WeightPlacement::REPLICATED)
        placement->mutable_partition()->Resize(std::max(1u, weight.n_experts()), 0);
    }
  }

  proto::ShardPlan Plan() {
    std::map<std::pair<uint32_t, Phase>, std::vector<int>> phases;
    for (int w = 0; w < spec_.weights_size(); ++w) {
      const Cut cut = CutOf(spec_.weights(w).role());
      if (cut.unit != Unit::kNone) phases[{LayerOf(w), PhaseOf(w)}].push_back(w);
    }
    plan_.mutable_head_partition()->Resize(spec_.n_layers(), 0);
    for (const auto& [key, weights] : phases) {
      stage_ = StageOf(key.first, key.second);
      loads().BeginPhase();
      PlanPhase(key.first, key.second, weights);
    }
    ChooseMlaCache();
    SetTotals();
    return std::move(plan_);
  }

 private:
  static std::vector<double> Shares(const PlanOptions& options) {
    if (options.ranks < 1 || options.ranks > kMaxRanks)
      Fail(ErrorCode::kUsage, "a plan needs 1 to {} ranks, not {}", kMaxRanks, options.ranks);
    if (options.shares.empty()) return std::vector<double>(options.ranks, 1.0 / options.ranks);
    if (options.shares.size() != static_cast<size_t>(options.ranks))
      Fail(ErrorCode::kUsage, "expected one share for each of {} ranks, found {}", options.ranks,
           options.shares.size());
    const double sum = std::accumulate(options.shares.begin(), options.shares.end(), 0.0);
    std::vector<double> shares;
    for (double s : options.shares) {
      if (!(s > 0)) Fail(ErrorCode::kUsage, "a rank's share must be above 0, found {}", s);
      shares.push_back(s / sum);
    }
    return shares;
  }

  // A stage's ranks divide it by their shares among each other, and stages the layers by the sums of those.
  void MakeStages(const PlanOptions& options) {
    const std::vector<double> shares = Shares(options);
    std::vector<uint32_t> bounds = options.stage_ranks;
    if (bounds.empty()) bounds = {0, static_cast<uint32_t>(options.ranks)};
    if (bounds.size() < 2 || bounds.front() != 0 || bounds.back() != static_cast<uint32_t>(options.ranks) ||
        std::adjacent_find(bounds.begin(), bounds.end(), std::greater_equal<>()) != bounds.end())
      Fail(ErrorCode::kUsage, "the stages of a pipeline must divide {} ranks, each with one at least",
           options.ranks);
    std::vector<double> stage_shares;
    for (size_t s = 0; s + 1 < bounds.size(); ++s) {
      std::vector<double> of_ranks(shares.begin() + bounds[s], shares.begin() + bounds[s + 1]);
      stage_shares.push_back(std::accumulate(of_ranks.begin(), of_ranks.end(), 0.0));
      for (double& share : of_ranks) share /= stage_shares.back();
      loads_.emplace_back(std::move(of_ranks));
    }
    plan_.mutable_stage_ranks()->Assign(bounds.begin(), bounds.end());
    const auto layers = DivideLayers(spec_, stage_shares);
    plan_.mutable_stage_layers()->Assign(layers.begin(), layers.end());
  }

  int StageOf(uint32_t layer, Phase phase) const {
    if (phase == Phase::kHead) return NumStages(plan_) - 1;
    if (phase == Phase::kEmbedding) return EmbeddingStage(spec_, NumStages(plan_));
    return StageOfLayer(plan_, layer);
  }
  Loads& loads() { return loads_[stage_]; }

  // Weights outside the layers come after all layers, the embedding last of all.
  uint32_t LayerOf(int w) const {
    const Phase phase = PhaseOf(w);
    return phase == Phase::kHead || phase == Phase::kEmbedding ? UINT32_MAX : spec_.weights(w).layer();
  }
  // A tied embedding is read whole in every step, as the lm_head that it also is.
  Phase PhaseOf(int w) const {
    const Phase phase = CutOf(spec_.weights(w).role()).phase;
    return phase == Phase::kEmbedding && spec_.tied_embeddings() ? Phase::kHead : phase;
  }

  void PlanPhase(uint32_t layer, Phase phase, const std::vector<int>& weights) {
    switch (phase) {
      case Phase::kAttention:
        return PlanAttention(layer, weights);
      case Phase::kRouter:
        for (int w : weights) {
          const uint32_t unit = TileOf(table_, spec_.weights(w));
          PlanRows(w, unit, DealToLeast);
        }
        return;
      case Phase::kFfn:
        return PlanFfn(weights);
      case Phase::kHead:
        for (int w : weights) PlanRows(w, kernels::kUnitCols, DealEvenly);
        return;
      case Phase::kEmbedding:
        // Each unit goes by bytes held in total: the phase's own loads start equal, so fold the totals in.
        loads().phase = loads().total;
        for (int w : weights) PlanRows(w, kernels::kUnitCols, DealToLeast);
        return;
    }
  }

  using Deal = std::vector<uint32_t> (*)(uint32_t units, double unit_bytes, Loads* loads);

  void PlanRows(int w, uint32_t unit_rows, Deal deal) {
    const Weight& weight = spec_.weights(w);
    const auto rows = static_cast<uint32_t>(weight.rows());
    const double unit_bytes = FileBytes(weight, unit_rows, weight.cols());
    const auto counts = deal(static_cast<uint32_t>(DivUp(rows, unit_rows)), unit_bytes, &loads());
    plan_.mutable_placements(w)->set_partition(0, AddPartition(counts, unit_rows, rows));
  }

  void PlanAttention(uint32_t layer, const std::vector<int>& weights) {
    const bool linear = IsLinearLayer(spec_, layer);
    const Unit by_heads = linear ? Unit::kLinearHeads : Unit::kHeads;
    const uint32_t n_heads = linear ? spec_.linear_value_heads() : spec_.n_heads();
    // Heads: the unit keeps every cut, by rows and by columns, at a multiple of 32.
    uint64_t unit_heads = 1;
    double head_bytes = 0;
    for (int w : weights) {
      const Weight& weight = spec_.weights(w);
      const Cut cut = CutOf(weight.role());
      if (cut.unit != by_heads) continue;
      const bool by_rows = cut.axis == WeightPlacement::ROWS;
      const uint64_t per_head = (by_rows ? weight.rows() : weight.cols()) / n_heads;
      unit_heads = std::lcm(unit_heads, std::lcm<uint64_t>(kernels::kUnitCols, per_head) / per_head);
      head_bytes +=
          FileBytes(weight, static_cast<double>(weight.rows()), static_cast<double>(weight.cols())) / n_heads;
    }
    const auto counts = DealEvenly(static_cast<uint32_t>(DivUp(n_heads, unit_heads)),
                                   head_bytes * static_cast<double>(unit_heads), &loads());
    const auto unit = static_cast<uint32_t>(unit_heads);
    plan_.set_head_partition(static_cast<int>(layer), AddPartition(counts, unit, n_heads));
    for (int w : weights) {
      const Weight& weight = spec_.weights(w);
      const Cut cut = CutOf(weight.role());
      if (cut.unit != by_heads) continue;
      const uint64_t size = cut.axis == WeightPlacement::ROWS ? weight.rows() : weight.cols();
      const auto per_head = static_cast<uint32_t>(size / n_heads);
      plan_.mutable_placements(w)->set_partition(
          0, AddPartition(counts, unit * per_head, static_cast<uint32_t>(size)));
    }
    for (int w : weights) {
      const Unit rows = CutOf(spec_.weights(w).role()).unit;
      if (rows == Unit::kRows) PlanRows(w, kernels::kUnitCols, DealToLeast);
      if (rows == Unit::kRouterRows) PlanRows(w, TileOf(table_, spec_.weights(w)), DealToLeast);
    }
    PlanChannels(weights);
  }

  // A convolution is over what its matrix gives, where that is.
  void PlanChannels(const std::vector<int>& weights) {
    for (int w : weights) {
      const Weight::Role role = spec_.weights(w).role();
      if (CutOf(role).unit != Unit::kChannels) continue;
      const Weight::Role matrix = role == Weight::LINEAR_CONV_Q ? Weight::LINEAR_Q : Weight::LINEAR_K;
      for (int m : weights)
        if (spec_.weights(m).role() == matrix)
          plan_.mutable_placements(w)->set_partition(0, plan_.placements(m).partition(0));
    }
  }

  // Kinds of FFN in the order in which they are dealt.
  static int FfnKindOf(Weight::Role role) {
    switch (role) {
      case Weight::DENSE_GATE:
      case Weight::DENSE_UP:
      case Weight::DENSE_DOWN:
        return 1;
      case Weight::SHARED_GATE:
      case Weight::SHARED_UP:
      case Weight::SHARED_DOWN:
        return 2;
      default:
        return 0;  // routed experts
    }
  }

  // All matrices of one FFN (an expert, the shared expert, a dense FFN) are cut alike.
  void PlanFfn(const std::vector<int>& weights) {
    struct Part {
      int weight;
      uint32_t expert;  // within the weight's entry
    };
    // Key: kind of FFN, expert number.
    std::map<std::pair<int, uint32_t>, std::vector<Part>> ffns;
    for (int w : weights) {
      const Weight& weight = spec_.weights(w);
      const bool hidden_cols = CutOf(weight.role()).unit == Unit::kHiddenCols;
      for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
        if (hidden_cols) {
          PlanHiddenCols(w, e);
        } else {
          ffns[{FfnKindOf(weight.role()), weight.first_expert() + e}].push_back({w, e});
        }
      }
    }
    for (const auto& [key, parts] : ffns) {
      uint32_t size = 0;
      double bytes = 0;
      for (const Part& part : parts) {
        const Weight& weight = spec_.weights(part.weight);
        const bool by_rows = CutOf(weight.role()).axis == WeightPlacement::ROWS;
        size = static_cast<uint32_t>(by_rows ? weight.rows() : weight.cols());
        bytes += FileBytes(weight, static_cast<double>(weight.rows()), static_cast<double>(weight.cols()));
      }
      const auto units = static_cast<uint32_t>(DivUp(size, kernels::kUnitCols));
      const auto counts = DealEvenly(units, bytes / units, &loads());
      const uint32_t partition = AddPartition(counts, kernels::kUnitCols, size);
      for (const Part& part : parts)
        plan_.mutable_placements(part.weight)->set_partition(static_cast<int>(part.expert), partition);
    }
  }

  void PlanHiddenCols(int w, uint32_t expert) {
    const Weight& weight = spec_.weights(w);
    const auto cols = static_cast<uint32_t>(weight.cols());
    const auto units = static_cast<uint32_t>(DivUp(cols, kernels::kUnitCols));
    const auto counts = DealEvenly(units, FileBytes(weight, 1, kernels::kUnitCols), &loads());
    plan_.mutable_placements(w)->set_partition(static_cast<int>(expert),
                                               AddPartition(counts, kernels::kUnitCols, cols));
  }

  // Equal partitions are stored once: a plan has thousands of experts and few distinct cuts.
  uint32_t AddPartition(const std::vector<uint32_t>& counts, uint32_t unit, uint32_t size) {
    const Range ranks = RanksOfStage(plan_, stage_);
    std::vector<uint32_t> bounds(ranks.begin + 1, 0);
    for (uint32_t count : counts)
      bounds.push_back(
          static_cast<uint32_t>(std::min<uint64_t>(bounds.back() + uint64_t{count} * unit, size)));
    bounds.resize(plan_.ranks() + 1, size);
    const auto [it, is_new] = partition_index_.try_emplace(bounds, plan_.partitions_size());
    if (is_new) plan_.add_partitions()->mutable_bounds()->Assign(bounds.begin(), bounds.end());
    return it->second;
  }

  // Of one position, all layers of a stage, in one copy.
  uint64_t LatentBytes(int stage) const {
    return spec_.kv_lora_rank() == 0
               ? 0
               : LayersOfStage(plan_, stage).size() *
                     kernels::KvRowBytes(table_.kv_type,
                                         uint64_t{spec_.kv_lora_rank()} + spec_.qk_rope_head_dim());
  }

  void ChooseMlaCache() {
    if (spec_.kv_lora_rank() == 0) return;
    bool small = true;
    for (int s = 0; s < NumStages(plan_); ++s) {
      if (RanksOfStage(plan_, s).size() > 1 && kv_tokens_ > 0)
        small &= LatentBytes(s) <= kMaxReplicatedLatentBytes / kv_tokens_;
    }
    plan_.set_mla_cache(small ? proto::ShardPlan::REPLICATED : proto::ShardPlan::BY_POSITION);
  }

  uint64_t KvBytesPerToken(int rank) const {
    const int stage = StageOfRank(plan_, rank);
    if (plan_.mla_cache() == proto::ShardPlan::REPLICATED) return LatentBytes(stage);
    if (plan_.mla_cache() == proto::ShardPlan::BY_POSITION)
      return DivUp(LatentBytes(stage), RanksOfStage(plan_, stage).size());
    // An upper bound where layers have a sliding window, which need no more positions than that.
    uint64_t heads = 0;
    for (uint32_t l = 0; l < spec_.n_layers(); ++l) heads += OwnedKvHeads(spec_, plan_, l, rank).size();
    return heads * (kernels::KvRowBytes(table_.kv_type, spec_.head_dim()) +
                    kernels::KvRowBytes(table_.kv_type, ValueDim(spec_)));
  }

  void SetTotals() {
    uint64_t replicated = 0;
    for (int w = 0; w < spec_.weights_size(); ++w)
      if (plan_.placements(w).axis() == WeightPlacement::REPLICATED)
        replicated += spec_.weights(w).rows() * spec_.weights(w).cols() * sizeof(float);
    uint64_t sum = 0;
    for (int r = 0; r < static_cast<int>(plan_.ranks()); ++r) {
      proto::RankTotals* totals = plan_.add_totals();
      totals->set_replicated_bytes(replicated);
      for (int w = 0; w < spec_.weights_size(); ++w) {
        if (plan_.placements(w).axis() == WeightPlacement::REPLICATED) continue;
        for (uint32_t e = 0; e < std::max(1u, spec_.weights(w).n_experts()); ++e) {
          const kernels::PackedMatrix m = ShardShape(spec_, plan_, table_, w, e, r);
          totals->set_weight_bytes(totals->weight_bytes() + kernels::PackedBytes(m));
          totals->set_split_header_bytes(totals->split_header_bytes() + kernels::SplitHeaderBytes(m));
        }
      }
      totals->set_kv_bytes_per_token(KvBytesPerToken(r));
      uint64_t state_floats = 0;
      for (uint32_t l = 0; l < spec_.n_layers(); ++l) state_floats += StateShape(spec_, plan_, l, r).floats();
      totals->set_state_bytes_per_sequence(state_floats * sizeof(float));
      sum += totals->weight_bytes();
    }
    plan_.set_weight_bytes(sum);
    plan_.set_replicated_bytes(replicated);
  }

  const proto::ModelSpec& spec_;
  const kernels::KernelTable& table_;
  const uint64_t kv_tokens_;
  std::vector<Loads> loads_;  // by stage
  int stage_ = 0;             // that is being planned
  proto::ShardPlan plan_;
  std::map<std::vector<uint32_t>, uint32_t> partition_index_;
};

}  // namespace

proto::ShardPlan MakeShardPlan(const proto::ModelSpec& spec, const kernels::KernelTable& table,
                               const PlanOptions& options) {
  return Planner(spec, table, options).Plan();
}

}  // namespace onecopy::shard
