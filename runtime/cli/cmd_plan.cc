// plan: who would hold what, from the headers alone.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "kernels/registry.h"
#include "runtime/base/error.h"
#include "runtime/base/sizes.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"
#include "runtime/cli/planner.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/fit.h"
#include "runtime/shard/pipeline.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/traffic.h"

namespace onecopy::cli {
namespace {

struct PlanCommandOptions {
  std::string model, weights;
  PlanWish wish;
  shard::Balance balance = shard::Balance::kEven;
  uint32_t context = 4096, depth = 0;
  kernels::KvType kv_type = kernels::KvType::kF16;
  int hosts = 1, pipeline = 0;
  std::string link = "5us,10GB/s";
  bool json = false;
};

struct PlanResult {
  proto::ModelSpec spec;
  kernels::KvType kv_type;
  PlannedRanks planned;
  uint64_t full_copy_bytes = 0;
  std::map<std::string, uint64_t> bytes_by_type;
  double bytes_per_token = 0;
  std::string machine, basis, source;
  Recommendation recommendation;
};

PlanResult MakePlan(const PlanCommandOptions& options, const numa::Topology& topology) {
  PlanResult result;
  result.spec = SpecOf(OpenCheckpoint(ResolveModelPath(options.model), Data::kMayBeAbsent), options.weights);
  const kernels::KernelTable& table = kernels::WithCache(ChooseKernels(), options.kv_type);
  result.kv_type = table.kv_type;
  const PlanMachine machine(options.wish, topology, result.spec, table);
  const PlannerInput input{result.spec,     table,         machine,       options.balance,
                           options.context, options.depth, options.hosts, ParseLink(options.link),
                           options.pipeline};
  const int ranks = options.wish.nodes > 0 ? options.wish.nodes : static_cast<int>(machine.nodes().size());
  result.planned = PlanRanks(input, PlanMachine::Layout::kSpread, ranks);
  result.full_copy_bytes = shard::FullCopyBytes(result.spec, table) + result.planned.plan.replicated_bytes();
  result.bytes_by_type = shard::BytesByType(result.spec, table);
  const shard::TokenCost cost = shard::CostOfToken(result.spec, result.planned.plan, table);
  result.bytes_per_token = cost.weight_bytes + cost.kv_bytes_per_position * options.depth + cost.state_bytes;
  result.machine = machine.name();
  result.basis = machine.basis();
  result.source = machine.source();
  result.recommendation = Recommend(input, result.planned);
  return result;
}

uint64_t OneCopyPerNode(const PlanResult& result) {
  return result.full_copy_bytes * result.planned.needs.size();
}

nlohmann::ordered_json ToJson(const shard::StepTime& time) {
  return {{"weights", time.weights},
          {"attention", time.attention},
          {"collectives", time.collectives},
          {"fixed", time.fixed}};
}

const char* LayoutName(PlanMachine::Layout layout) {
  switch (layout) {
    case PlanMachine::Layout::kSpread:
      return "nodes";
    case PlanMachine::Layout::kPerSocket:
      return "sockets";
    case PlanMachine::Layout::kOneRank:
      return "all nodes";
  }
  return "";
}

nlohmann::ordered_json PredictionJson(const PlanResult& result) {
  const shard::Prediction& p = result.planned.predicted;
  return {{"decode_tokens_per_second", p.decode_tokens_per_second},
          {"prefill_tokens_per_second", p.prefill_tokens_per_second},
          {"prefill_tokens", shard::kPredictedChunk},
          {"decode_seconds", ToJson(p.decode)},
          {"prefill_seconds", ToJson(p.prefill)},
          {"bytes_per_token", static_cast<uint64_t>(result.bytes_per_token)},
          {"machine", result.machine},
          {"source", result.source},
          {"basis", result.basis}};
}

nlohmann::ordered_json RecommendationJson(const Recommendation& recommendation) {
  nlohmann::ordered_json candidates = nlohmann::ordered_json::array();
  for (const Candidate& c : recommendation.candidates)
    candidates.push_back({{"ranks", c.ranks},
                          {"over", LayoutName(c.layout)},
                          {"fits", c.fits},
                          {"decode_tokens_per_second", c.predicted.decode_tokens_per_second},
                          {"prefill_tokens_per_second", c.predicted.prefill_tokens_per_second}});
  const Candidate& best = recommendation.candidates[recommendation.best];
  return {{"ranks", best.ranks},
          {"over", LayoutName(best.layout)},
          {"text", recommendation.text},
          {"candidates", candidates}};
}

std::string PlanJson(const PlanResult& result) {
  const PlannedRanks& planned = result.planned;
  nlohmann::ordered_json json;
  json["model"] = result.spec.name();
  json["fits"] = planned.why_not.empty();
  if (!planned.why_not.empty()) json["why_not"] = planned.why_not;
  json["weight_bytes"] = planned.plan.weight_bytes();
  json["weight_types"] = result.bytes_by_type;
  json["replicated_bytes"] = planned.plan.replicated_bytes();
  json["one_copy_bytes"] = result.full_copy_bytes;
  json["one_copy_per_node_bytes"] = OneCopyPerNode(result);
  json["kv_type"] = kernels::KvTypeName(result.kv_type);
  json["ranks"] = nlohmann::ordered_json::array();
  for (size_t r = 0; r < planned.needs.size(); ++r) {
    const auto& needs = planned.needs[r];
    json["ranks"].push_back(
        {{"host", planned.host_of_rank[r]},
         {"node", needs.node()},
         {"stage", shard::StageOfRank(planned.plan, static_cast<int>(r))},
         {"weight_bytes", needs.weight_bytes()},
         {"split_header_bytes", planned.plan.totals(static_cast<int>(r)).split_header_bytes()},
         {"replicated_bytes", needs.replicated_bytes()},
         {"kv_bytes", needs.kv_bytes()},
         {"state_bytes", needs.state_bytes()},
         {"workspace_bytes", needs.workspace_bytes()},
         {"available_bytes", needs.node_available()},
         {"threads", planned.places[r].threads},
         {"read_bytes_per_second", planned.places[r].read_bandwidth}});
  }
  nlohmann::ordered_json replicated = nlohmann::ordered_json::array();
  for (int w = 0; w < result.spec.weights_size(); ++w)
    if (planned.plan.placements(w).axis() == proto::WeightPlacement::REPLICATED)
      replicated.push_back(result.spec.weights(w).name());
  json["replicated"] = std::move(replicated);
  json["stages"] = nlohmann::ordered_json::array();
  for (int s = 0; s < shard::NumStages(planned.plan); ++s) {
    const shard::Range of_stage = shard::LayersOfStage(planned.plan, s);
    const shard::Range ranks = shard::RanksOfStage(planned.plan, s);
    json["stages"].push_back(
        {{"layers", {of_stage.begin, of_stage.end}}, {"ranks", {ranks.begin, ranks.end}}});
  }
  if (!planned.stages_text.empty()) json["stages_text"] = planned.stages_text;
  if (planned.plan.mla_cache() != proto::ShardPlan::NONE)
    json["latent_cache"] =
        planned.plan.mla_cache() == proto::ShardPlan::BY_POSITION ? "by position" : "replicated";
  json["predicted"] = PredictionJson(result);
  json["recommendation"] = RecommendationJson(result.recommendation);
  return json.dump(2) + "\n";
}

std::string ShareText(const char* what, double part, const shard::StepTime& time) {
  return fmt::format("{} {:.0f} %", what, 100 * part / time.Total());
}

std::string TimeText(const shard::StepTime& t) {
  return fmt::format("{}, {}, {}, {}", ShareText("weights", t.weights, t),
                     ShareText("attention", t.attention, t),
                     ShareText("exchange between ranks", t.collectives, t), ShareText("fixed", t.fixed, t));
}

std::string Text(const PlanResult& result, const PlanCommandOptions& options) {
  const PlannedRanks& planned = result.planned;
  const size_t n = planned.needs.size();
  std::string text =
      fmt::format("{}, family {}, {} of weights, {} rank{} on {}{}, KV cache for {} tokens in {}\n\n",
                  result.spec.name().empty() ? "model" : result.spec.name(), result.spec.family(),
                  FormatBytes(planned.plan.weight_bytes()), n, n == 1 ? "" : "s",
                  options.hosts > 1 ? fmt::format("{} hosts like ", options.hosts) : "", result.machine,
                  options.context, kernels::KvTypeName(result.kv_type));
  text += fmt::format("{:>4}  {:>9}  {:>10}  {:>9}  {:>9}  {:>9}  {:>9}\n", "node", "weights", "replicated",
                      "KV cache", "workspace", "total", "available");
  for (const auto& needs : planned.needs)
    text += fmt::format("{:>4}  {:>9}  {:>10}  {:>9}  {:>9}  {:>9}  {:>9}\n", needs.node(),
                        FormatBytes(needs.weight_bytes()), FormatBytes(needs.replicated_bytes()),
                        FormatBytes(needs.kv_bytes()), FormatBytes(needs.workspace_bytes()),
                        FormatBytes(shard::TotalNeeds(needs)), FormatBytes(needs.node_available()));
  uint64_t headers = 0;
  for (const auto& totals : planned.plan.totals()) headers += totals.split_header_bytes();
  std::vector<std::string> types;
  for (const auto& [type, bytes] : result.bytes_by_type)
    types.push_back(fmt::format("{} {}", FormatBytes(bytes), type));
  text += fmt::format("\nweights by type: {}\n", fmt::join(types, ", "));
  text += fmt::format("one copy in all {}, with one full copy per node it would be {}\n",
                      FormatBytes(planned.plan.weight_bytes()), FormatBytes(OneCopyPerNode(result)));
  text += fmt::format("replicated: norms and biases only, {} a node; block headers copied at cuts: {}\n",
                      FormatBytes(planned.plan.replicated_bytes()), FormatBytes(headers));
  uint64_t state = 0;
  for (const auto& totals : planned.plan.totals()) state += totals.state_bytes_per_sequence();
  if (state > 0)
    text +=
        fmt::format("linear attention: a state of {} in all ranks together for a sequence, in the total\n",
                    FormatBytes(state));
  if (planned.plan.mla_cache() == proto::ShardPlan::BY_POSITION)
    text += "latent KV cache: cut by position, each held once\n";
  if (planned.plan.mla_cache() == proto::ShardPlan::REPLICATED && n > 1)
    text += "latent KV cache: small, so every rank holds it (in the table above)\n";
  for (const std::string& lack : result.spec.not_runnable())
    text += fmt::format("onecopy can plan this model but not run it yet: {}\n", lack);
  const shard::Prediction& p = planned.predicted;
  text += fmt::format("\npredicted from {}:\n", result.basis);
  text += fmt::format("  decode  {:>8.1f} tokens/s at depth {}: {}\n", p.decode_tokens_per_second,
                      options.depth, TimeText(p.decode));
  text += fmt::format("  prefill {:>8.0f} tokens/s of {} tokens: {}\n", p.prefill_tokens_per_second,
                      shard::kPredictedChunk, TimeText(p.prefill));
  if (!planned.stages_text.empty()) text += fmt::format("{} hosts: {}\n", options.hosts, planned.stages_text);
  text += result.recommendation.text + (options.hosts > 1 ? " (ranks of each host)\n" : "\n");
  text += planned.why_not.empty() ? "it fits\n" : planned.why_not + "\n";
  return text;
}

void AddOptions(CLI::App* app, PlanCommandOptions* options) {
  AddModelOption(app, &options->model);
  AddWeightsOption(app, &options->weights);
  app->add_option("--nodes", options->wish.nodes,
                  "NUMA nodes (ranks) to plan for; default: those of the machine")
      ->check(CLI::Range(1, shard::kMaxRanks));
  app->add_option("--node-memory", options->wish.node_memory,
                  "memory of each node, e.g. 64G or 64G,32G: plan for other nodes than this machine's")
      ->type_name("LIST");
  app->add_option("--bandwidth", options->wish.bandwidth,
                  "read bandwidth of each node, e.g. 46GB/s or 46GB/s,23GB/s; default: measured")
      ->type_name("LIST");
  app->add_option("--machine", options->wish.machine,
                  "plan for a machine by its description: a file, or the name of one that ships")
      ->type_name("NAME|FILE");
  app->add_option_function<std::string>(
         "--balance",
         [options](const std::string& text) {
           const auto balance = shard::ParseBalance(text);
           if (!balance)
             throw CLI::ValidationError("--balance", "'" + text + "' is not even, memory or bandwidth");
           options->balance = *balance;
         },
         "how large each rank's part is: even, by the memory of its node, or by its bandwidth")
      ->type_name("even|memory|bandwidth");
  app->add_option("--hosts", options->hosts, "plan for so many hosts, each like this machine or --machine")
      ->check(CLI::Range(1, 64));
  app->add_option("--link", options->link, "latency and bandwidth between hosts")->type_name("LIST");
  app->add_option(
         "--pipeline", options->pipeline,
         "stages of a pipeline of layers; default 0: over several hosts what is predicted to be quicker")
      ->check(CLI::Range(0, shard::kMaxRanks));
  app->add_option("--context", options->context, "positions of KV cache")->check(CLI::Range(1u, 1u << 26));
  AddKvTypeOption(app, &options->kv_type);
  app->add_option("--depth", options->depth, "tokens before the one whose decode is predicted")
      ->check(CLI::Range(0u, 1u << 26));
  app->add_flag("--json", options->json, "print JSON");
}

}  // namespace

Command PlanCommand() {
  auto options = std::make_shared<PlanCommandOptions>();
  Command command;
  command.name = "plan";
  command.summary = "Who holds what, does it fit, how fast it would be; reads headers only";
  command.examples =
      "  onecopy plan -m model.gguf\n"
      "  onecopy plan -m model.gguf --nodes 24 --node-memory 64G --context 32768 --json\n"
      "  onecopy plan -m model.gguf --machine 2x-epyc-9655-24-nodes\n"
      "  onecopy plan -m model.gguf --machine 2x-epyc-9655-24-nodes --hosts 2 --link 5us,10GB/s\n";
  command.add_options = [options](CLI::App* app) { AddOptions(app, options.get()); };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    OnFirstRank(comm, "plan", [&] {
      const PlanResult result = MakePlan(*options, seat.topology);
      Print(options->json ? PlanJson(result) : Text(result, *options));
    });
  };
  return command;
}

}  // namespace onecopy::cli
