#include "runtime/shard/plan.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/shard/apportion.h"

namespace onecopy::shard {
namespace {

using proto::Weight;
using proto::WeightPlacement;

// Phases of a layer: ranks wait for each other at the end of each.
enum class Phase { kAttention, kRouter, kFfn, kHead, kEmbedding };
// What one unit of a cut is, and how units are dealt.
enum class Unit {
  kNone,          // replicated
  kHeads,         // whole query heads, as many as make 32 columns of the output projection; evenly
  kRows,          // 32 rows, to the least loaded
  kRouterRows,    // single experts' rows (a row tile where quantised), to the least loaded
  kColumnGroups,  // 32 columns of the intermediate dimension, evenly
  kVocabRows,     // 32 rows: lm_head evenly, embedding to the least loaded
};

struct Cut {
  Phase phase;
  WeightPlacement::Axis axis;
  Unit unit;
};

// The table of design: what is cut how. Everything else (norms, biases) is replicated.
Cut CutOf(Weight::Role role) {
  constexpr auto kRowsAxis = WeightPlacement::ROWS;
  constexpr auto kColsAxis = WeightPlacement::COLS;
  switch (role) {
    case Weight::ATTN_Q:
    case Weight::ATTN_Q_B:
    case Weight::ATTN_KV_B:
      return {Phase::kAttention, kRowsAxis, Unit::kHeads};
    case Weight::ATTN_O:
      return {Phase::kAttention, kColsAxis, Unit::kHeads};
    case Weight::ATTN_K:
    case Weight::ATTN_V:
    case Weight::ATTN_Q_A:
    case Weight::ATTN_KV_A:
      return {Phase::kAttention, kRowsAxis, Unit::kRows};
    case Weight::ROUTER:
      return {Phase::kRouter, kRowsAxis, Unit::kRouterRows};
    case Weight::EXPERT_GATE:
    case Weight::EXPERT_UP:
    case Weight::DENSE_GATE:
    case Weight::DENSE_UP:
    case Weight::SHARED_GATE:
    case Weight::SHARED_UP:
      return {Phase::kFfn, kRowsAxis, Unit::kColumnGroups};
    case Weight::EXPERT_DOWN:
    case Weight::DENSE_DOWN:
    case Weight::SHARED_DOWN:
      return {Phase::kFfn, kColsAxis, Unit::kColumnGroups};
    case Weight::LM_HEAD:
      return {Phase::kHead, kRowsAxis, Unit::kVocabRows};
    case Weight::TOKEN_EMBEDDING:
      return {Phase::kEmbedding, kRowsAxis, Unit::kVocabRows};
    default:
      return {Phase::kAttention, WeightPlacement::REPLICATED, Unit::kNone};
  }
}

kernels::WeightType TypeOf(const Weight& weight) {
  return static_cast<kernels::WeightType>(weight.type());
}

uint32_t TileOf(const kernels::KernelTable& table, const Weight& weight) {
  return table.weights[weight.type()].row_tile;
}

// Bytes of `rows` x `cols` of a weight, in the file's blocks: exact enough to balance loads by.
double FileBytes(const Weight& weight, double rows, double cols) {
  const kernels::TypeInfo& info = kernels::Info(TypeOf(weight));
  return rows * cols * info.block_bytes / info.block_cols;
}

class Planner {
 public:
  Planner(const proto::ModelSpec& spec, const kernels::KernelTable& table, const PlanOptions& options)
      : spec_(spec), table_(table), loads_(Shares(options)) {
    plan_.set_ranks(options.ranks);
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
      loads_.BeginPhase();
      PlanPhase(key.first, key.second, weights);
    }
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
        loads_.phase = loads_.total;
        for (int w : weights) PlanRows(w, kernels::kUnitCols, DealToLeast);
        return;
    }
  }

  using Deal = std::vector<uint32_t> (*)(uint32_t units, double unit_bytes, Loads* loads);

  void PlanRows(int w, uint32_t unit_rows, Deal deal) {
    const Weight& weight = spec_.weights(w);
    const auto rows = static_cast<uint32_t>(weight.rows());
    const double unit_bytes = FileBytes(weight, unit_rows, weight.cols());
    const auto counts = deal(static_cast<uint32_t>(DivUp(rows, unit_rows)), unit_bytes, &loads_);
    plan_.mutable_placements(w)->set_partition(0, AddPartition(counts, unit_rows, rows));
  }

  void PlanAttention(uint32_t layer, const std::vector<int>& weights) {
    // Heads: the unit keeps every cut, by rows and by columns, at a multiple of 32.
    uint64_t unit_heads = 1;
    double head_bytes = 0;
    for (int w : weights) {
      const Weight& weight = spec_.weights(w);
      const Cut cut = CutOf(weight.role());
      if (cut.unit != Unit::kHeads) continue;
      const bool by_rows = cut.axis == WeightPlacement::ROWS;
      const uint64_t per_head = (by_rows ? weight.rows() : weight.cols()) / spec_.n_heads();
      unit_heads = std::lcm(unit_heads, std::lcm<uint64_t>(kernels::kUnitCols, per_head) / per_head);
      head_bytes +=
          FileBytes(weight, static_cast<double>(weight.rows()), static_cast<double>(weight.cols())) /
          spec_.n_heads();
    }
    const auto counts = DealEvenly(static_cast<uint32_t>(DivUp(spec_.n_heads(), unit_heads)),
                                   head_bytes * static_cast<double>(unit_heads), &loads_);
    const auto unit = static_cast<uint32_t>(unit_heads);
    plan_.set_head_partition(static_cast<int>(layer), AddPartition(counts, unit, spec_.n_heads()));
    for (int w : weights) {
      const Weight& weight = spec_.weights(w);
      const Cut cut = CutOf(weight.role());
      if (cut.unit != Unit::kHeads) continue;
      const uint64_t size = cut.axis == WeightPlacement::ROWS ? weight.rows() : weight.cols();
      const auto per_head = static_cast<uint32_t>(size / spec_.n_heads());
      plan_.mutable_placements(w)->set_partition(
          0, AddPartition(counts, unit * per_head, static_cast<uint32_t>(size)));
    }
    for (int w : weights)
      if (CutOf(spec_.weights(w).role()).unit == Unit::kRows) PlanRows(w, kernels::kUnitCols, DealToLeast);
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
      const int kind = weight.role() >= Weight::SHARED_GATE ? 2 : weight.role() >= Weight::DENSE_GATE ? 1 : 0;
      for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e)
        ffns[{kind, weight.first_expert() + e}].push_back({w, e});
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
      const auto counts = DealEvenly(units, bytes / units, &loads_);
      const uint32_t partition = AddPartition(counts, kernels::kUnitCols, size);
      for (const Part& part : parts)
        plan_.mutable_placements(part.weight)->set_partition(static_cast<int>(part.expert), partition);
    }
  }

  // Equal partitions are stored once: a plan has thousands of experts and few distinct cuts.
  uint32_t AddPartition(const std::vector<uint32_t>& counts, uint32_t unit, uint32_t size) {
    std::vector<uint32_t> bounds(1, 0);
    for (uint32_t count : counts)
      bounds.push_back(
          static_cast<uint32_t>(std::min<uint64_t>(bounds.back() + uint64_t{count} * unit, size)));
    const auto [it, is_new] = partition_index_.try_emplace(bounds, plan_.partitions_size());
    if (is_new) plan_.add_partitions()->mutable_bounds()->Assign(bounds.begin(), bounds.end());
    return it->second;
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
      uint64_t kv_elements = 0;
      for (uint32_t l = 0; l < spec_.n_layers(); ++l)
        kv_elements += 2ull * OwnedKvHeads(spec_, plan_, l, r).size() * spec_.head_dim();
      totals->set_kv_bytes_per_token(kv_elements * kernels::KvBytes(table_.kv_type));
      sum += totals->weight_bytes();
    }
    plan_.set_weight_bytes(sum);
    plan_.set_replicated_bytes(replicated);
  }

  const proto::ModelSpec& spec_;
  const kernels::KernelTable& table_;
  Loads loads_;
  proto::ShardPlan plan_;
  std::map<std::vector<uint32_t>, uint32_t> partition_index_;
};

}  // namespace

proto::ShardPlan MakeShardPlan(const proto::ModelSpec& spec, const kernels::KernelTable& table,
                               const PlanOptions& options) {
  return Planner(spec, table, options).Plan();
}

Range OwnedRange(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int weight, uint32_t expert,
                 int rank) {
  const WeightPlacement& placement = plan.placements(weight);
  if (placement.axis() == WeightPlacement::REPLICATED)
    return {0, static_cast<uint32_t>(spec.weights(weight).rows())};
  const auto& bounds =
      plan.partitions(static_cast<int>(placement.partition(static_cast<int>(expert)))).bounds();
  return {bounds[rank], bounds[rank + 1]};
}

Range OwnedHeads(const proto::ShardPlan& plan, uint32_t layer, int rank) {
  const auto& bounds =
      plan.partitions(static_cast<int>(plan.head_partition(static_cast<int>(layer)))).bounds();
  return {bounds[rank], bounds[rank + 1]};
}

Range OwnedKvHeads(const proto::ModelSpec& spec, const proto::ShardPlan& plan, uint32_t layer, int rank) {
  const Range heads = OwnedHeads(plan, layer, rank);
  if (heads.size() == 0) return {};
  const uint32_t group = spec.n_heads() / spec.n_kv_heads();
  return {heads.begin / group, static_cast<uint32_t>(DivUp(heads.end, group))};
}

kernels::PackedMatrix ShardShape(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                                 const kernels::KernelTable& table, int weight, uint32_t expert, int rank) {
  const Weight& w = spec.weights(weight);
  const Range range = OwnedRange(spec, plan, weight, expert, rank);
  const bool by_cols = plan.placements(weight).axis() == WeightPlacement::COLS;
  kernels::PackedMatrix m;
  m.type = TypeOf(w);
  m.row_tile = TileOf(table, w);
  m.rows = by_cols ? static_cast<uint32_t>(w.rows()) : range.size();
  m.cols = by_cols ? range.size() : static_cast<uint32_t>(w.cols());
  m.first_col = by_cols ? range.begin : 0;
  // A rank without a part of the matrix has no rows either, so that nothing is computed or stored for it.
  if (m.cols == 0) m.rows = 0;
  if (m.rows == 0) m.cols = m.first_col = 0;
  return m;
}

uint64_t FullCopyBytes(const proto::ModelSpec& spec, const kernels::KernelTable& table) {
  uint64_t bytes = 0;
  for (const Weight& w : spec.weights()) {
    if (CutOf(w.role()).unit == Unit::kNone) continue;
    kernels::PackedMatrix m;
    m.type = TypeOf(w);
    m.row_tile = TileOf(table, w);
    m.rows = static_cast<uint32_t>(w.rows());
    m.cols = static_cast<uint32_t>(w.cols());
    bytes += kernels::PackedBytes(m) * std::max(1u, w.n_experts());
  }
  return bytes;
}

}  // namespace onecopy::shard
