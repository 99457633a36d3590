// Command: one subcommand of onecopy. Adding one: a file cmd_NAME.cc with a function NameCommand(), one row
// in commands.cc.
#pragma once

#include <functional>
#include <string>

#include "runtime/cli/placement.h"
#include "runtime/cli/rank.h"
#include "runtime/comm/communicator.h"

namespace CLI {
class App;
}

namespace onecopy::cli {

struct Command {
  std::string name;
  std::string summary;   // one line
  std::string examples;  // whole lines of "  onecopy …", for --help
  // Adds options to the subcommand's parser; what they fill lives in the closure that `run` shares.
  std::function<void(CLI::App* app)> add_options;
  // Called on every rank after parsing. Throws Error; results go to stdout on rank 0 only.
  std::function<void(comm::Communicator& comm, const Seat& seat)> run;
};

// Results to stdout. A reader may leave in the middle (... | head), which is no error. Errors: kUsage where it cannot be
// written for another reason, as on a full disk.
void Print(const std::string& text);
// The same of a text that is still being made: false where the reader has left.
bool PrintToReader(const std::string& text);

Command GenerateCommand();
Command ChatCommand();
Command ServeCommand();
Command BenchCommand();
Command BenchCollectivesCommand();
Command PlanCommand();
Command InspectCommand();
Command TokenizeCommand();
Command TemplateCommand();
Command LogitsCommand();
Command PerplexityCommand();
Command DoctorCommand();
Command QuantizeCommand();

}  // namespace onecopy::cli
