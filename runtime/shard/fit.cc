#include "runtime/shard/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/base/check.h"
#include "runtime/base/sizes.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/latent_forms.h"
#include "runtime/shard/loader.h"
#include "runtime/shard/pipeline.h"
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
  uint64_t filter_bytes = 0;
  for (uint32_t l = 0; l < spec.n_layers(); ++l)
    filter_bytes +=
        uint64_t{StateShape(spec, plan, l, rank).channels()} * spec.linear_conv_kernel() * sizeof(float);
  inter = DivUp(std::max(spec.moe_intermediate_dim(), spec.intermediate_dim()),
                RanksOfStage(plan, StageOfRank(plan, rank)).size()) +
          kernels::kUnitCols;
  const uint64_t entries = std::max(1u, spec.n_experts_used());
  const uint64_t shared =
      DivUp(spec.shared_intermediate_dim(), RanksOfStage(plan, StageOfRank(plan, rank)).size());
  // With latent attention a head's absorbed query and sum are as long as a latent.
  const uint64_t latent = spec.kv_lora_rank() > 0 ? spec.kv_lora_rank() + spec.qk_rope_head_dim() : 0;
  // q, k, beta and alpha of all heads of linear attention; of the rank's own heads v, z, what comes of them, q and k.
  const uint64_t linear =
      spec.linear_layers().empty()
          ? 0
          : 2ull * spec.linear_key_heads() * spec.linear_key_head_dim() + 2ull * spec.linear_value_heads() +
                heads * (3ull * spec.linear_value_head_dim() + 2ull * spec.linear_key_head_dim() + 2);
  const uint64_t floats_per_token = linear + 4ull * spec.hidden_dim() +
                                    (spec.attn_output_gate() ? 4 : 2) * heads * (spec.head_dim() + latent) +
                                    2ull * MostKvHeads(spec) * spec.head_dim() + 2ull * spec.q_lora_rank() +
                                    spec.n_experts() + 2 * (entries * inter + shared);
  // Two tokens' worth of logits cover decoding; commands that ask for more rows are few and say so by
  // --context.
  return filter_bytes + ExpandedBytes(spec, plan, rank) +
         floats_per_token * sizeof(float) * options.chunk_tokens + 2ull * spec.vocab_size() * sizeof(float) +
         kStagingBytes / options.ranks_on_host + kProcessBytes;
}

}  // namespace

proto::RankNeeds NeedsOf(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank,
                         const FitOptions& options) {
  const proto::RankTotals& totals = plan.totals(rank);
  proto::RankNeeds needs;
  needs.set_weight_bytes(totals.weight_bytes());
  needs.set_kv_tokens(options.kv_tokens);
  needs.set_replicated_bytes(totals.replicated_bytes());
  needs.set_kv_bytes(totals.kv_bytes_per_token() * RoundUp(options.kv_tokens, 64));
  needs.set_state_bytes(totals.state_bytes_per_sequence() * options.sequences);
  needs.set_workspace_bytes(WorkspaceBytes(spec, plan, rank, options));
  return needs;
}

uint64_t ReserveBytes(const proto::ModelSpec& spec, int ranks_on_host) {
  return 2ull * spec.vocab_size() * sizeof(float) + kStagingBytes / static_cast<uint64_t>(ranks_on_host) +
         kProcessBytes;
}

uint64_t TotalNeeds(const proto::RankNeeds& needs) {
  return needs.weight_bytes() + needs.replicated_bytes() + needs.kv_bytes() + needs.state_bytes() +
         needs.workspace_bytes();
}

namespace {

// Ranks that share memory: those of a node, or of a host.
struct Place {
  std::vector<const proto::RankNeeds*> ranks;
  uint64_t available = 0;

  uint64_t Sum(uint64_t (*of)(const proto::RankNeeds&)) const {
    uint64_t sum = 0;
    for (const proto::RankNeeds* rank : ranks) sum += of(*rank);
    return sum;
  }
  bool Fits() const { return Sum(TotalNeeds) <= available; }
};

uint64_t Weights(const proto::RankNeeds& needs) {
  return needs.weight_bytes();
}
uint64_t Kv(const proto::RankNeeds& needs) {
  return needs.kv_bytes();
}
// What a rank needs whatever its share of the model is.
uint64_t Fixed(const proto::RankNeeds& needs) {
  return needs.replicated_bytes() + needs.state_bytes() + needs.workspace_bytes();
}

// What would fit in its stead, from what the places have: each is a change of one option, or of the machine.
std::string Remedies(const std::vector<Place>& places, const Place& tight) {
  std::vector<std::string> remedies;
  constexpr double kUneven = 1.02;  // the most loaded rank of a plan, against the mean
  uint64_t shared = 0, room = 0, tokens = UINT64_MAX;
  bool without_cache = true, without_model = true;
  for (const Place& place : places) {
    const uint64_t fixed = place.Sum(Fixed), weights = place.Sum(Weights), kv = place.Sum(Kv);
    shared += weights + kv;
    room += place.available - std::min(place.available, fixed);
    if (fixed >= place.available) without_model = false;
    if (fixed + weights > place.available) without_cache = false;
    if (without_cache && kv > 0)
      tokens = std::min(tokens, static_cast<uint64_t>(static_cast<double>(place.ranks[0]->kv_tokens()) *
                                                      static_cast<double>(place.available - fixed - weights) /
                                                      static_cast<double>(kv)));
  }
  const double wanted = kUneven * static_cast<double>(shared);
  const auto fits_with_spare = [](const Place& place) {
    return place.Sum(TotalNeeds) <= place.available + place.ranks[0]->spare_available();
  };
  if (std::all_of(places.begin(), places.end(), fits_with_spare)) remedies.emplace_back("--memory-nodes all");
  if (without_model && places.size() > 1 && wanted <= static_cast<double>(room))
    remedies.emplace_back("--balance memory");
  if (without_cache && tokens >= 64 && tokens < UINT64_MAX)
    remedies.push_back(fmt::format("--context {}", tokens / 64 * 64));
  const uint64_t fixed = Fixed(*tight.ranks[0]);
  if (tight.available > fixed)
    remedies.push_back(fmt::format("{:.0f} nodes like this one",
                                   std::ceil(wanted / static_cast<double>(tight.available - fixed))));
  remedies.emplace_back("a model with fewer bits a weight");
  return fmt::format("{}", fmt::join(remedies, ", or "));
}

std::string Sentence(const std::string& where, const Place& place, const std::string& remedies) {
  return fmt::format(
      "the model does not fit: {} needs {} for {} rank{} ({} weights, {} KV cache), but has {} available; "
      "what would "
      "fit: {}",
      where, FormatBytes(place.Sum(TotalNeeds)), place.ranks.size(), place.ranks.size() == 1 ? "" : "s",
      FormatBytes(place.Sum(Weights)), FormatBytes(place.Sum(Kv)), FormatBytes(place.available), remedies);
}

}  // namespace

std::string WhyNotFit(const std::vector<proto::RankNeeds>& ranks, bool replicated) {
  const auto remedies = [&](const std::vector<Place>& places, const Place& tight) {
    return replicated ? "one copy over all ranks, without --replicate" : Remedies(places, tight);
  };
  std::map<std::pair<std::string, int>, Place> nodes;
  std::map<std::string, Place> hosts;
  for (const proto::RankNeeds& rank : ranks) {
    if (rank.node() >= 0) {
      Place& place = nodes[{rank.host(), rank.node()}];
      place.ranks.push_back(&rank);
      place.available = rank.node_available();
    }
    Place& host = hosts[rank.host()];
    host.ranks.push_back(&rank);
    host.available = rank.host_available();
  }
  std::vector<Place> all;
  for (const auto& [key, place] : nodes) all.push_back(place);
  for (const auto& [key, place] : nodes)
    if (!place.Fits())
      return Sentence(fmt::format("NUMA node {} of host {}", key.second, key.first), place,
                      remedies(all, place));
  all.clear();
  for (const auto& [host, place] : hosts) all.push_back(place);
  for (const auto& [host, place] : hosts)
    if (!place.Fits())
      return Sentence(fmt::format("host {} (its memory, or the limit of its control group)", host), place,
                      remedies(all, place));
  return "";
}

}  // namespace onecopy::shard
