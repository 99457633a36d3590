// Bytes and arithmetic of one token: what a step must read and compute at least. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"

namespace onecopy::shard {

// Experts of a weight that are cut alike: a plan has thousands of experts and few distinct cuts.
struct LikeExperts {
  uint32_t expert = 0;  // one of them, within the weight's entry
  uint32_t count = 0;
};
// All of a weight's experts, by cut; one group of one for a weight without experts.
std::vector<LikeExperts> GroupByCut(const proto::Weight& weight, const proto::WeightPlacement& placement);

struct TokenCost {
  double weight_bytes = 0;       // packed weight bytes read for one decoded token, all ranks together
  double most_loaded_bytes = 0;  // the same of the rank that has most, experts averaged
  double state_bytes =
      0;  // of linear attention, read for each token whatever its position, all ranks together
  double kv_bytes_per_position = 0;  // KV cache read for each position before the token, all ranks together
  double multiply_adds = 0;
};

// Every dense matrix whole, n_experts_used / n_experts of the routed experts, one row of the embedding.
TokenCost CostOfToken(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                      const kernels::KernelTable& table);

}  // namespace onecopy::shard
