#include "runtime/cli/planner.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/shard/fit.h"
#include "runtime/shard/plan.h"

namespace onecopy::cli {
namespace {

using Layout = PlanMachine::Layout;

constexpr uint32_t kChunkTokens = 512;

std::vector<proto::RankNeeds> NeedsOf(const PlannerInput& input, const PlannedRanks& planned) {
  uint64_t all = 0;
  for (const auto& node : input.machine.nodes()) all += node.available_bytes;
  const auto n = static_cast<int>(planned.places.size());
  std::vector<proto::RankNeeds> ranks;
  for (int r = 0; r < n; ++r) {
    ranks.push_back(shard::NeedsOf(
        input.spec, planned.plan, r,
        {.kv_tokens = input.context, .chunk_tokens = kChunkTokens, .ranks_on_host = n / input.hosts}));
    std::string host = input.machine.name();
    if (input.hosts > 1) host += fmt::format(", host {}", planned.host_of_rank[r] + 1);
    ranks.back().set_host(host);
    ranks.back().set_node(planned.places[r].node);
    ranks.back().set_node_available(planned.places[r].available_bytes);
    ranks.back().set_host_available(std::min(all, input.machine.host_available()));
  }
  return ranks;
}

// As many stages as were asked for, or as the prediction finds best.
std::vector<uint32_t> StagesOf(const PlannerInput& input, const shard::MachineModel& machine,
                               const std::vector<int>& host_of_rank, std::string* why) {
  if (input.hosts == 1 && input.pipeline == 0) return {};
  std::vector<std::vector<int>> hosts(static_cast<size_t>(input.hosts));
  for (size_t r = 0; r < host_of_rank.size(); ++r) hosts[host_of_rank[r]].push_back(static_cast<int>(r));
  if (input.pipeline > 0) return StageBounds(hosts, input.pipeline);
  const auto candidates = PredictStages(input.spec, input.table, machine, hosts, input.context);
  return StageBounds(hosts, candidates[BestStages(candidates, machine, why)].stages);
}

std::string CandidateName(const Candidate& c, size_t nodes) {
  const char* s = c.ranks == 1 ? "" : "s";
  if (c.layout == Layout::kOneRank) return "one rank over all nodes (-n 1 --bind none)";
  if (c.layout == Layout::kPerSocket)
    return fmt::format("{} rank{}, one a socket (--ranks-per socket)", c.ranks, s);
  if (static_cast<size_t>(c.ranks) == nodes)
    return fmt::format("{} rank{}, one a node (the default)", c.ranks, s);
  return fmt::format("{} rank{} (-n {})", c.ranks, s, c.ranks);
}

double Decode(const Candidate& c) {
  return c.predicted.decode_tokens_per_second;
}

const Candidate* Find(const std::vector<Candidate>& candidates, Layout layout, int ranks) {
  for (const Candidate& c : candidates)
    if (c.layout == layout && c.ranks == ranks) return &c;
  return nullptr;
}

// The largest part of what `best` saves of a token's time.
std::string Explain(const Candidate& best, const Candidate& other) {
  const shard::StepTime &b = best.predicted.decode, &o = other.predicted.decode;
  if (!other.fits) return "which does not fit";
  const double reading = o.weights + o.attention - b.weights - b.attention;
  const double waiting = o.collectives - b.collectives, starting = o.fixed - b.fixed;
  if (waiting >= std::max(reading, starting)) return "fewer ranks wait less for each other";
  if (starting >= reading) return "smaller teams of threads start and join sooner";
  if (other.layout == Layout::kOneRank) return "each node's cores read that node's memory only";
  if (other.layout == Layout::kSpread && other.ranks < best.ranks)
    return "the bandwidth of more nodes counts";
  return best.ranks < other.ranks ? "shards are less narrow" : "more cores are busy at the same time";
}

std::string TextOf(const std::vector<Candidate>& candidates, size_t best_index, size_t nodes) {
  const Candidate& best = candidates[best_index];
  if (!best.fits) return "no number of ranks makes it fit";
  if (candidates.size() == 1) return "one node: one rank";
  const Candidate* normal = Find(candidates, Layout::kSpread, static_cast<int>(nodes));
  const bool is_default = normal == &best;
  // Against the default; the default against the best of the others.
  const Candidate* other = is_default ? nullptr : normal;
  for (const Candidate& c : candidates)
    if (is_default && &c != &best && c.fits && (!other || Decode(c) > Decode(*other))) other = &c;
  if (!other) return fmt::format("best: {}; nothing else fits", CandidateName(best, nodes));
  return fmt::format("best: {} with {:.1f} tokens/s decode, against {:.1f} of {}: {}",
                     CandidateName(best, nodes), Decode(best), Decode(*other), CandidateName(*other, nodes),
                     Explain(best, *other));
}

}  // namespace

PlannedRanks PlanRanks(const PlannerInput& input, Layout layout, int ranks) {
  PlannedRanks planned;
  planned.layout = layout;
  const auto of_host = input.machine.Lay(layout, ranks);
  shard::MachineModel machine = input.machine.Model(of_host);
  const std::vector<shard::RankMachine> speeds = machine.ranks;
  machine.ranks.clear();
  std::vector<shard::RankMeans> means;
  for (int h = 0; h < input.hosts; ++h) {
    planned.places.insert(planned.places.end(), of_host.begin(), of_host.end());
    planned.host_of_rank.insert(planned.host_of_rank.end(), of_host.size(), h);
    machine.ranks.insert(machine.ranks.end(), speeds.begin(), speeds.end());
    for (const auto& place : of_host)
      means.push_back({place.available_bytes / static_cast<uint64_t>(place.sharers), place.read_bandwidth});
  }
  if (input.hosts > 1) machine.host_of_rank = planned.host_of_rank;
  machine.link_seconds = input.link.seconds;
  machine.link_bandwidth = input.link.bytes_per_second;
  const auto n_on_host = static_cast<int>(of_host.size());
  planned.plan = shard::MakeShardPlan(
      input.spec, input.table,
      {.ranks = n_on_host * input.hosts,
       .shares = shard::SharesOf(input.balance, means, shard::ReserveBytes(input.spec, n_on_host)),
       .stage_ranks = StagesOf(input, machine, planned.host_of_rank, &planned.stages_text),
       .kv_tokens = input.context});
  planned.needs = NeedsOf(input, planned);
  planned.why_not = shard::WhyNotFit(planned.needs);
  planned.predicted = shard::Predict(input.spec, planned.plan, input.table, machine, input.depth);
  return planned;
}

Recommendation Recommend(const PlannerInput& input, const PlannedRanks& planned) {
  const auto nodes = static_cast<int>(input.machine.nodes().size());
  const int sockets = input.machine.sockets();
  std::vector<std::pair<Layout, int>> layouts;
  for (int ranks = 1; ranks <= nodes; ++ranks)
    if (nodes % ranks == 0) layouts.emplace_back(Layout::kSpread, ranks);
  if (sockets > 1 && sockets < nodes) layouts.emplace_back(Layout::kPerSocket, sockets);
  if (nodes > 1) layouts.emplace_back(Layout::kOneRank, 1);

  Recommendation result;
  const auto add = [&](const PlannedRanks& p) {
    result.candidates.push_back(
        {p.layout, static_cast<int>(p.places.size()) / input.hosts, p.why_not.empty(), p.predicted});
  };
  for (const auto& [layout, ranks] : layouts) {
    if (ranks * input.hosts < input.pipeline) continue;  // not enough for the stages
    if (layout == planned.layout && ranks * input.hosts == static_cast<int>(planned.places.size())) {
      add(planned);
      continue;
    }
    try {
      add(PlanRanks(input, layout, ranks));
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kNoMemory) throw;
      result.candidates.push_back({layout, ranks, false, {}});  // not even the workspace fits
    }
  }
  for (size_t i = 1; i < result.candidates.size(); ++i) {
    const Candidate &c = result.candidates[i], &best = result.candidates[result.best];
    if (c.fits != best.fits ? c.fits : Decode(c) > Decode(best)) result.best = i;
  }
  result.text = TextOf(result.candidates, result.best, static_cast<size_t>(nodes));
  return result;
}

}  // namespace onecopy::cli
