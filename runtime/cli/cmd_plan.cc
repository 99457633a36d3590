// plan: who would hold what, from the headers alone.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/base/sizes.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"
#include "runtime/cli/placement.h"
#include "runtime/model/model_spec.h"
#include "runtime/numa/places.h"
#include "runtime/report/machine.h"
#include "runtime/report/run_report.h"
#include "runtime/shard/fit.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/traffic.h"

namespace onecopy::cli {
namespace {

struct Options {
  std::string model, node_memory;
  int nodes = 0;
  uint32_t context = 4096;
  bool json = false;
};

struct Prediction {
  double decode = 0, prefill = 0;  // tokens a second
};

struct PlanResult {
  proto::ModelSpec spec;
  proto::ShardPlan plan;
  std::vector<proto::RankNeeds> ranks;
  std::string why_not;  // empty: it fits
  uint64_t full_copy_bytes = 0;
  Prediction predicted;
  bool other_machine = false;
};

// From what one thread and all threads of this machine reach now, with the efficiencies that peers reach.
Prediction Predict(const PlanResult& result, const kernels::KernelTable& table,
                   const numa::Topology& topology) {
  constexpr double kBandwidthShare = 0.6, kMatmulShare = 0.5;
  int cores = 0;
  const auto places = numa::FindPlaces(topology);
  for (const numa::Place& place : places) cores += static_cast<int>(numa::CpuIds(place.cpus, false).size());
  cores = std::max(1, cores);
  const shard::TokenCost cost = shard::CostOfToken(result.spec, result.plan, table);
  const double ranks = result.plan.ranks();
  const double machine_nodes = std::max<double>(1, static_cast<double>(places.size()));
  // More ranks than this machine has nodes share it, unless the plan is for another machine of like nodes.
  const double scale = result.other_machine ? ranks / machine_nodes : 1;
  const double bandwidth = report::MeasureReadBandwidth(cores) * scale;
  Prediction predicted;
  predicted.decode = kBandwidthShare * bandwidth / (cost.most_loaded_bytes * ranks);

  // The type that most of the arithmetic is in.
  std::array<double, static_cast<size_t>(kernels::WeightType::kCount)> elements{};
  for (const proto::Weight& w : result.spec.weights())
    elements[w.type()] +=
        static_cast<double>(w.rows()) * static_cast<double>(w.cols()) * std::max(1u, w.n_experts());
  const auto type =
      static_cast<kernels::WeightType>(std::max_element(elements.begin(), elements.end()) - elements.begin());
  const double rate = report::MeasureMatmulRate(table, type) * cores * scale;
  predicted.prefill = kMatmulShare * rate / (2 * cost.multiply_adds);
  return predicted;
}

PlanResult MakePlan(const Options& options) {
  PlanResult result;
  result.spec = BuildModelSpec(OpenCheckpoint(ResolveModelPath(options.model)));
  const kernels::KernelTable& table = ChooseKernels();
  const numa::Topology topology = numa::ReadTopology();
  std::vector<const numa::Node*> nodes;
  for (const numa::Place& place : numa::FindPlaces(topology)) nodes.push_back(topology.Find(place.id));
  const int ranks = options.nodes > 0 ? options.nodes : std::max(1, static_cast<int>(nodes.size()));
  result.other_machine = !options.node_memory.empty();
  result.plan = shard::MakeShardPlan(result.spec, table, {.ranks = ranks, .shares = {}});
  result.full_copy_bytes = shard::FullCopyBytes(result.spec, table) + result.plan.replicated_bytes();

  uint64_t host_available = 0;
  for (const numa::Node* node : nodes) host_available += node->free_bytes;
  host_available = std::min(host_available, topology.cgroup_limit_bytes);
  const uint64_t node_memory = result.other_machine ? ParseBytes(options.node_memory) : 0;
  for (int r = 0; r < ranks; ++r) {
    result.ranks.push_back(
        shard::NeedsOf(result.spec, result.plan, r,
                       {.kv_tokens = options.context, .chunk_tokens = 512, .ranks_on_host = ranks}));
    proto::RankNeeds& needs = result.ranks.back();
    const bool as_here = ranks == static_cast<int>(nodes.size()) && !result.other_machine;
    needs.set_host(result.other_machine ? "planned" : topology.host);
    needs.set_node(as_here ? nodes[r]->id : r);
    needs.set_node_available(result.other_machine ? node_memory
                             : as_here            ? nodes[r]->free_bytes
                                                  : host_available / ranks);
    needs.set_host_available(result.other_machine ? node_memory * ranks : host_available);
  }
  result.why_not = shard::WhyNotFit(result.ranks);
  result.predicted = Predict(result, table, topology);
  return result;
}

uint64_t OneCopyPerNode(const PlanResult& result) {
  return result.full_copy_bytes * result.ranks.size();
}

std::string Json(const PlanResult& result) {
  nlohmann::ordered_json json;
  json["model"] = result.spec.name();
  json["fits"] = result.why_not.empty();
  if (!result.why_not.empty()) json["why_not"] = result.why_not;
  json["weight_bytes"] = result.plan.weight_bytes();
  json["replicated_bytes"] = result.plan.replicated_bytes();
  json["one_copy_bytes"] = result.full_copy_bytes;
  json["one_copy_per_node_bytes"] = OneCopyPerNode(result);
  json["ranks"] = nlohmann::ordered_json::array();
  for (size_t r = 0; r < result.ranks.size(); ++r) {
    const auto& needs = result.ranks[r];
    json["ranks"].push_back(
        {{"node", needs.node()},
         {"weight_bytes", needs.weight_bytes()},
         {"split_header_bytes", result.plan.totals(static_cast<int>(r)).split_header_bytes()},
         {"replicated_bytes", needs.replicated_bytes()},
         {"kv_bytes", needs.kv_bytes()},
         {"workspace_bytes", needs.workspace_bytes()},
         {"available_bytes", needs.node_available()}});
  }
  nlohmann::ordered_json replicated = nlohmann::ordered_json::array();
  for (int w = 0; w < result.spec.weights_size(); ++w)
    if (result.plan.placements(w).axis() == proto::WeightPlacement::REPLICATED)
      replicated.push_back(result.spec.weights(w).name());
  json["replicated"] = std::move(replicated);
  json["predicted"] = {{"decode_tokens_per_second", result.predicted.decode},
                       {"prefill_tokens_per_second", result.predicted.prefill}};
  return json.dump(2) + "\n";
}

std::string Text(const PlanResult& result, const Options& options) {
  std::string text = fmt::format("{}, family {}, {} of weights, on {} node{}, KV cache for {} tokens\n\n",
                                 result.spec.name().empty() ? "model" : result.spec.name(),
                                 result.spec.family(), FormatBytes(result.plan.weight_bytes()),
                                 result.ranks.size(), result.ranks.size() == 1 ? "" : "s", options.context);
  text += fmt::format("{:>4}  {:>9}  {:>10}  {:>9}  {:>9}  {:>9}  {:>9}\n", "node", "weights", "replicated",
                      "KV cache", "workspace", "total", "available");
  for (const auto& needs : result.ranks)
    text += fmt::format("{:>4}  {:>9}  {:>10}  {:>9}  {:>9}  {:>9}  {:>9}\n", needs.node(),
                        FormatBytes(needs.weight_bytes()), FormatBytes(needs.replicated_bytes()),
                        FormatBytes(needs.kv_bytes()), FormatBytes(needs.workspace_bytes()),
                        FormatBytes(shard::TotalNeeds(needs)), FormatBytes(needs.node_available()));
  uint64_t headers = 0;
  for (const auto& totals : result.plan.totals()) headers += totals.split_header_bytes();
  text += fmt::format("\none copy in all {}, with one full copy per node it would be {}\n",
                      FormatBytes(result.plan.weight_bytes()), FormatBytes(OneCopyPerNode(result)));
  text += fmt::format("replicated: norms and biases only, {} a node; block headers copied at cuts: {}\n",
                      FormatBytes(result.plan.replicated_bytes()), FormatBytes(headers));
  text += fmt::format(
      "predicted from this machine's measured bandwidth and kernels: {:.1f} tokens/s decode, {:.0f} "
      "tokens/s prefill\n",
      result.predicted.decode, result.predicted.prefill);
  text += result.why_not.empty() ? "it fits\n" : result.why_not + "\n";
  return text;
}

}  // namespace

Command PlanCommand() {
  auto options = std::make_shared<Options>();
  Command command;
  command.name = "plan";
  command.summary = "Who holds what, does it fit, what one copy per node would cost; reads headers only";
  command.examples =
      "  onecopy plan -m model.gguf\n"
      "  onecopy plan -m model.gguf --nodes 24 --node-memory 64G --context 32768 --json\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOption(app, &options->model);
    app->add_option("--nodes", options->nodes,
                    "NUMA nodes (ranks) to plan for; default: those of this machine")
        ->check(CLI::Range(1, shard::kMaxRanks));
    app->add_option("--node-memory", options->node_memory,
                    "memory of each node, e.g. 64G: plan for another machine than this one");
    app->add_option("--context", options->context, "positions of KV cache")->check(CLI::Range(1u, 1u << 26));
    app->add_flag("--json", options->json, "print JSON");
  };
  command.run = [options](comm::Communicator& comm, const Seat&) {
    OnFirstRank(comm, "plan", [&] {
      const PlanResult result = MakePlan(*options);
      Print(options->json ? Json(result) : Text(result, *options));
    });
  };
  return command;
}

}  // namespace onecopy::cli
