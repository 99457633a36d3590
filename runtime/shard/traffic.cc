#include "runtime/shard/traffic.h"

#include <algorithm>
#include <vector>

#include "runtime/shard/plan.h"

namespace onecopy::shard {

TokenCost CostOfToken(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                      const kernels::KernelTable& table) {
  TokenCost cost;
  std::vector<double> rank_bytes(plan.ranks());
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    if (plan.placements(w).axis() == proto::WeightPlacement::REPLICATED) continue;
    double share = 1;
    if (weight.n_experts() > 0) share = static_cast<double>(spec.n_experts_used()) / spec.n_experts();
    if (weight.role() == proto::Weight::TOKEN_EMBEDDING && !spec.tied_embeddings())
      share = 1.0 / static_cast<double>(weight.rows());
    const double elements = static_cast<double>(weight.rows()) * static_cast<double>(weight.cols()) *
                            std::max(1u, weight.n_experts());
    if (weight.role() != proto::Weight::TOKEN_EMBEDDING || spec.tied_embeddings())
      cost.multiply_adds += elements * share;
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e)
      for (size_t r = 0; r < rank_bytes.size(); ++r)
        rank_bytes[r] += share * static_cast<double>(kernels::PackedBytes(
                                     ShardShape(spec, plan, table, w, e, static_cast<int>(r))));
  }
  for (size_t r = 0; r < rank_bytes.size(); ++r) {
    cost.weight_bytes += rank_bytes[r];
    cost.most_loaded_bytes = std::max(cost.most_loaded_bytes, rank_bytes[r]);
    cost.kv_bytes_per_position += static_cast<double>(plan.totals(static_cast<int>(r)).kv_bytes_per_token());
  }
  return cost;
}

}  // namespace onecopy::shard
