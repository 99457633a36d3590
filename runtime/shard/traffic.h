// Bytes and arithmetic of one token: what a step must read and compute at least. Pure.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"

namespace onecopy::shard {

struct TokenCost {
  double weight_bytes = 0;        // packed weight bytes read for one decoded token, all ranks together
  double most_loaded_bytes = 0;   // the same of the rank that has most, experts averaged
  double kv_bytes_per_position = 0;  // KV cache read for each position before the token, all ranks together
  double multiply_adds = 0;
};

// Every dense matrix whole, n_experts_used / n_experts of the routed experts, one row of the embedding.
TokenCost CostOfToken(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const kernels::KernelTable& table);

}  // namespace onecopy::shard
