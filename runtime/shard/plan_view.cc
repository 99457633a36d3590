// What a finished plan says: ranges, shapes and positions of a rank. Pure.
#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/pipeline.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/plan_cut.h"

namespace onecopy::shard {

using proto::Weight;
using proto::WeightPlacement;

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

uint32_t KvHeadsOf(const proto::ModelSpec& spec, uint32_t layer) {
  return onecopy::KvHeadsOf(spec, layer);
}

uint32_t ValueDim(const proto::ModelSpec& spec) {
  return onecopy::ValueDim(spec);
}

Range OwnedKvHeads(const proto::ModelSpec& spec, const proto::ShardPlan& plan, uint32_t layer, int rank) {
  if (spec.kv_lora_rank() > 0 || IsLinearLayer(spec, layer)) return {};
  const Range heads = OwnedHeads(plan, layer, rank);
  if (heads.size() == 0) return {};
  const uint32_t group = spec.n_heads() / KvHeadsOf(spec, layer);
  return {heads.begin / group, static_cast<uint32_t>(DivUp(heads.end, group))};
}

LinearStateShape StateShape(const proto::ModelSpec& spec, const proto::ShardPlan& plan, uint32_t layer,
                            int rank) {
  LinearStateShape shape;
  if (!IsLinearLayer(spec, layer)) return shape;
  shape.value_heads = OwnedHeads(plan, layer, rank);
  shape.head_floats = uint64_t{spec.linear_key_head_dim()} * spec.linear_value_head_dim();
  shape.v_channels = shape.value_heads.size() * spec.linear_value_head_dim();
  for (int w = 0; w < spec.weights_size(); ++w) {
    if (spec.weights(w).layer() != layer) continue;
    if (spec.weights(w).role() == Weight::LINEAR_Q)
      shape.q_channels = OwnedRange(spec, plan, w, 0, rank).size();
    if (spec.weights(w).role() == Weight::LINEAR_K)
      shape.k_channels = OwnedRange(spec, plan, w, 0, rank).size();
  }
  shape.conv_floats = uint64_t{spec.linear_conv_kernel() - 1} * shape.channels();
  return shape;
}

uint64_t OwnedPositions(const proto::ShardPlan& plan, int rank, uint64_t positions) {
  if (plan.mla_cache() != proto::ShardPlan::BY_POSITION) return positions;
  // Whole rounds, then what of the last round reaches this rank's block.
  const Range ranks = RanksOfStage(plan, StageOfRank(plan, rank));
  const uint64_t round = uint64_t{ranks.size()} * kMlaBlockPositions;
  const uint64_t rest = positions % round;
  const uint64_t begin = (static_cast<uint64_t>(rank) - ranks.begin) * kMlaBlockPositions;
  const uint64_t last = rest > begin ? std::min<uint64_t>(rest - begin, kMlaBlockPositions) : 0;
  return positions / round * kMlaBlockPositions + last;
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

std::map<std::string, uint64_t> BytesByType(const proto::ModelSpec& spec, const kernels::KernelTable& table) {
  std::map<std::string, uint64_t> bytes;
  for (const Weight& w : spec.weights()) {
    if (CutOf(w.role()).unit == Unit::kNone) continue;
    kernels::PackedMatrix m;
    m.type = TypeOf(w);
    m.row_tile = TileOf(table, w);
    m.rows = static_cast<uint32_t>(w.rows());
    m.cols = static_cast<uint32_t>(w.cols());
    bytes[kernels::Info(m.type).name] += kernels::PackedBytes(m) * std::max(1u, w.n_experts());
  }
  return bytes;
}

uint64_t FullCopyBytes(const proto::ModelSpec& spec, const kernels::KernelTable& table) {
  uint64_t sum = 0;
  for (const auto& [type, bytes] : BytesByType(spec, table)) sum += bytes;
  return sum;
}

}  // namespace onecopy::shard
