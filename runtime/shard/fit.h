// Does it fit? Memory of each rank before anything is allocated, and what its node has. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/model.pb.h"
#include "proto/plan.pb.h"

namespace onecopy::shard {

struct FitOptions {
  uint64_t kv_tokens = 4096;
  uint32_t chunk_tokens = 512;
  int ranks_on_host = 1;
  uint32_t sequences = 1;  // at once
};

// Fills what the rank needs; host, node and what they have are the caller's to fill.
proto::RankNeeds NeedsOf(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank,
                         const FitOptions& options);
// What a rank needs beside weights and KV cache, whatever its share: an upper estimate, before there is a plan.
uint64_t ReserveBytes(const proto::ModelSpec& spec, int ranks_on_host);
uint64_t TotalNeeds(const proto::RankNeeds& needs);

// Ranks on one (host, node) share its memory, ranks of a host its limit. Empty when all fits; otherwise one sentence
// that names the first node (or host) that is too small, with needed and available bytes and what would fit.
// replicated: each rank holds a whole copy, which no other division makes smaller.
std::string WhyNotFit(const std::vector<proto::RankNeeds>& ranks, bool replicated = false);

}  // namespace onecopy::shard
