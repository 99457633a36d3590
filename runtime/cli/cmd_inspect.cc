// onecopy inspect: metadata and tensors of a model, from its headers. Rank 0 reads and prints; the others
// only learn whether that worked.
#include <cstdio>
#include <memory>
#include <optional>
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
  const Checkpoint checkpoint = OpenCheckpoint(ResolveModelPath(options.model));
  // Strings of a file may be malformed UTF-8, which JSON cannot hold: replaced, as everywhere they are shown.
  const std::string text =
      options.json
          ? DescribeAsJson(checkpoint).dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
          : DescribeAsText(checkpoint);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    Fail(ErrorCode::kUsage, "standard output cannot be written; is the disk full?");
  }
}

}  // namespace

Command InspectCommand() {
  auto options = std::make_shared<InspectOptions>();
  Command command;
  command.name = "inspect";
  command.summary = "metadata and tensors of a model";
  command.examples = "onecopy inspect -m model.gguf\nonecopy inspect -m model_directory --json";
  command.add_options = [options](CLI::App* app) {
    app->add_option("-m,--model", options->model, "GGUF file or Hugging Face directory");
    app->add_flag("--json", options->json, "print one JSON object");
  };
  command.run = [options](comm::Communicator& comm) {
    std::optional<Error> error;
    if (comm.rank() == 0) {
      try {
        Inspect(*options);
      } catch (const Error& e) {
        error = e;
      }
    }
    comm.Agree("inspect", error ? &*error : nullptr);
  };
  return command;
}

}  // namespace onecopy::cli
