#include "runtime/shard/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "runtime/base/check.h"
#include "runtime/shard/loader.h"
#include "runtime/shard/plan.h"

namespace onecopy::shard {
namespace {

// Code, libraries, MPI's own buffers, page tables: measured 40-70 MB a rank with Open MPI 4.1.
constexpr uint64_t kProcessBytes = 80ull << 20;

uint64_t WorkspaceBytes(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank,
                        const FitOptions& options) {
  uint64_t heads = 0, inter = 0;
  for (uint32_t l = 0; l < spec.n_layers(); ++l)
    heads = std::max<uint64_t>(heads, OwnedHeads(plan, l, rank).size());
  inter = DivUp(std::max(spec.moe_intermediate_dim(), spec.intermediate_dim()), plan.ranks()) +
          kernels::kUnitCols;
  const uint64_t entries = std::max(1u, spec.n_experts_used());
  const uint64_t floats_per_token = 4ull * spec.hidden_dim() + 2 * heads * spec.head_dim() +
                                    2ull * spec.n_kv_heads() * spec.head_dim() + spec.n_experts() +
                                    2 * entries * inter;
  // Two tokens' worth of logits cover decoding; commands that ask for more rows are few and say so by
  // --context.
  return floats_per_token * sizeof(float) * options.chunk_tokens + 2ull * spec.vocab_size() * sizeof(float) +
         kStagingBytes / options.ranks_on_host + kProcessBytes;
}

std::string Gb(uint64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

}  // namespace

proto::RankNeeds NeedsOf(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank,
                         const FitOptions& options) {
  const proto::RankTotals& totals = plan.totals(rank);
  proto::RankNeeds needs;
  needs.set_weight_bytes(totals.weight_bytes());
  needs.set_replicated_bytes(totals.replicated_bytes());
  needs.set_kv_bytes(totals.kv_bytes_per_token() * RoundUp(options.kv_tokens, 64));
  needs.set_workspace_bytes(WorkspaceBytes(spec, plan, rank, options));
  return needs;
}

uint64_t TotalNeeds(const proto::RankNeeds& needs) {
  return needs.weight_bytes() + needs.replicated_bytes() + needs.kv_bytes() + needs.workspace_bytes();
}

std::string WhyNotFit(const std::vector<proto::RankNeeds>& ranks) {
  struct Place {
    uint64_t needed = 0, weights = 0, kv = 0, available = 0;
    int n_ranks = 0;
  };
  std::map<std::pair<std::string, int>, Place> nodes;
  std::map<std::string, Place> hosts;
  const auto add = [](Place* place, const proto::RankNeeds& needs, uint64_t available) {
    place->needed += TotalNeeds(needs);
    place->weights += needs.weight_bytes() + needs.replicated_bytes();
    place->kv += needs.kv_bytes();
    place->available = available;
    ++place->n_ranks;
  };
  for (const proto::RankNeeds& rank : ranks) {
    if (rank.node() >= 0) add(&nodes[{rank.host(), rank.node()}], rank, rank.node_available());
    add(&hosts[rank.host()], rank, rank.host_available());
  }
  const auto sentence = [](const std::string& where, const Place& place) {
    return fmt::format(
        "the model does not fit: {} needs {} for {} rank{} ({} weights, {} KV cache), but has {} available; "
        "use more "
        "nodes or hosts, a smaller --context, or a model with fewer bits a weight",
        where, Gb(place.needed), place.n_ranks, place.n_ranks == 1 ? "" : "s", Gb(place.weights),
        Gb(place.kv), Gb(place.available));
  };
  for (const auto& [key, place] : nodes)
    if (place.needed > place.available)
      return sentence(fmt::format("NUMA node {} of host {}", key.second, key.first), place);
  for (const auto& [host, place] : hosts)
    if (place.needed > place.available) return sentence(fmt::format("host {}", host), place);
  return "";
}

}  // namespace onecopy::shard
