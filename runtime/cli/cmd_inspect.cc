// onecopy inspect: metadata and tensors of a model, from its headers. Rank 0 reads and prints; the others only learn
// whether that worked.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "kernels/types.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/describe.h"

namespace onecopy::cli {
namespace {

struct InspectOptions {
  std::string model, weights;
  bool json = false;
};

// Of the model's weights by type, as they are after --weights.
std::map<std::string, uint64_t> BytesByType(const proto::ModelSpec& spec) {
  std::map<std::string, uint64_t> bytes;
  for (const proto::Weight& weight : spec.weights()) {
    const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
    bytes[info.name] +=
        weight.rows() * kernels::RowBytes(info, weight.cols()) * std::max(1u, weight.n_experts());
  }
  return bytes;
}

void Inspect(const InspectOptions& options) {
  const Checkpoint checkpoint = OpenCheckpoint(ResolveModelPath(options.model), Data::kMayBeAbsent);
  std::map<std::string, uint64_t> quantised;
  if (!options.weights.empty()) quantised = BytesByType(SpecOf(checkpoint, options.weights));
  if (options.json) {
    nlohmann::json description = DescribeAsJson(checkpoint);
    if (!quantised.empty()) description["quantised"] = {{"weights", options.weights}, {"bytes", quantised}};
    // Strings of a file may be malformed UTF-8, which JSON cannot hold: such bytes become U+FFFD.
    return Print(description.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  std::string text = DescribeAsText(checkpoint);
  for (const auto& [type, bytes] : quantised)
    text += fmt::format("with --weights {}: {} bytes of {}\n", options.weights, bytes, type);
  Print(text);
}

}  // namespace

Command InspectCommand() {
  auto options = std::make_shared<InspectOptions>();
  Command command;
  command.name = "inspect";
  command.summary = "metadata and tensors of a model";
  command.examples = "  onecopy inspect -m model.gguf\n  onecopy inspect -m model_directory --json\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOption(app, &options->model);
    AddWeightsOption(app, &options->weights);
    app->add_flag("--json", options->json, "one JSON object");
  };
  command.run = [options](comm::Communicator& comm, const Seat&) {
    OnFirstRank(comm, "inspect", [&] { Inspect(*options); });
  };
  return command;
}

}  // namespace onecopy::cli
