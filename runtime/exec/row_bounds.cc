#include "runtime/exec/row_bounds.h"

#include "runtime/base/check.h"
#include "runtime/shard/pipeline.h"

namespace onecopy::exec {

std::vector<uint32_t> RowBounds(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                                proto::Weight::Role role, uint32_t layer, int stage) {
  for (int w = 0; w < spec.weights_size(); ++w) {
    if (spec.weights(w).role() != role || spec.weights(w).layer() != layer) continue;
    const auto& bounds = plan.partitions(static_cast<int>(plan.placements(w).partition(0))).bounds();
    const shard::Range ranks = shard::RanksOfStage(plan, stage);
    return {bounds.begin() + ranks.begin, bounds.begin() + ranks.end + 1};
  }
  ONECOPY_CHECK(false);
}

}  // namespace onecopy::exec
