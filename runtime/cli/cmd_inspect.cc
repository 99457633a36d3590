// onecopy inspect: metadata and tensors of a model, from its headers. Rank 0 reads and prints; the others only learn
// whether that worked.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/describe.h"

namespace onecopy::cli {
namespace {

struct InspectOptions {
  std::string model;
  bool json = false;
};

void Inspect(const InspectOptions& options) {
  const Checkpoint checkpoint = OpenCheckpoint(ResolveModelPath(options.model), Data::kMayBeAbsent);
  // Strings of a file may be malformed UTF-8, which JSON cannot hold: such bytes become U+FFFD.
  Print(options.json
            ? DescribeAsJson(checkpoint).dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
            : DescribeAsText(checkpoint));
}

}  // namespace

Command InspectCommand() {
  auto options = std::make_shared<InspectOptions>();
  Command command;
  command.name = "inspect";
  command.summary = "metadata and tensors of a model";
  command.examples = "onecopy inspect -m model.gguf\nonecopy inspect -m model_directory --json";
  command.add_options = [options](CLI::App* app) {
    AddModelOption(app, &options->model);
    app->add_flag("--json", options->json, "one JSON object");
  };
  command.run = [options](comm::Communicator& comm, const Seat&) {
    OnFirstRank(comm, "inspect", [&] { Inspect(*options); });
  };
  return command;
}

}  // namespace onecopy::cli
