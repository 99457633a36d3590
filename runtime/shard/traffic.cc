#include "runtime/shard/traffic.h"

#include <algorithm>

#include "runtime/shard/plan.h"

namespace onecopy::shard {

std::vector<LikeExperts> GroupByCut(const proto::Weight& weight, const proto::WeightPlacement& placement) {
  if (weight.n_experts() == 0) return {{0, 1}};
  std::vector<std::pair<uint32_t, uint32_t>> experts;  // cut, expert
  experts.reserve(weight.n_experts());
  for (uint32_t e = 0; e < weight.n_experts(); ++e)
    experts.emplace_back(placement.partition(static_cast<int>(e)), e);
  std::sort(experts.begin(), experts.end());
  std::vector<LikeExperts> groups;
  for (size_t i = 0; i < experts.size(); ++i) {
    if (i == 0 || experts[i].first != experts[i - 1].first) groups.push_back({experts[i].second, 0});
    ++groups.back().count;
  }
  return groups;
}

TokenCost CostOfToken(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                      const kernels::KernelTable& table) {
  TokenCost cost;
  std::vector<double> rank_bytes(plan.ranks());
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    const proto::WeightPlacement& placement = plan.placements(w);
    if (placement.axis() == proto::WeightPlacement::REPLICATED) continue;
    const bool is_lookup = weight.role() == proto::Weight::TOKEN_EMBEDDING && !spec.tied_embeddings();
    double share = 1;
    if (weight.n_experts() > 0) share = static_cast<double>(spec.n_experts_used()) / spec.n_experts();
    if (is_lookup) share = 1.0 / static_cast<double>(weight.rows());
    if (!is_lookup) {
      cost.multiply_adds += static_cast<double>(weight.rows()) * static_cast<double>(weight.cols()) *
                            std::max(1u, weight.n_experts()) * share;
    }
    for (const LikeExperts& alike : GroupByCut(weight, placement)) {
      for (size_t r = 0; r < rank_bytes.size(); ++r) {
        const auto shard = ShardShape(spec, plan, table, w, alike.expert, static_cast<int>(r));
        rank_bytes[r] += share * alike.count * static_cast<double>(kernels::PackedBytes(shard));
      }
    }
  }
  for (size_t r = 0; r < rank_bytes.size(); ++r) {
    cost.weight_bytes += rank_bytes[r];
    cost.most_loaded_bytes = std::max(cost.most_loaded_bytes, rank_bytes[r]);
    cost.state_bytes += static_cast<double>(plan.totals(static_cast<int>(r)).state_bytes_per_sequence());
    cost.kv_bytes_per_position += static_cast<double>(plan.totals(static_cast<int>(r)).kv_bytes_per_token());
  }
  return cost;
}

}  // namespace onecopy::shard
