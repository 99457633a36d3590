// onecopy's entry: parses the command line and runs the command as a rank of the job (rank.h). The only place that ends the
// process.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/exit_code.h"
#include "runtime/base/launcher.h"
#include "runtime/base/log.h"
#include "runtime/cli/build_info.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/rank.h"
#include "runtime/cli/terminate.h"

namespace onecopy::cli {
namespace {

// Where this program is started without it, its help is still about what users start.
const std::string& Launcher() {
  static const std::string name = LauncherName();
  return name;
}

std::string About() {
  return fmt::format(
      "onecopy: mixture-of-experts language models on NUMA servers, one copy in memory\n"
      "Start it over all NUMA nodes with {}; run as it is, it is one rank.",
      Launcher());
}

// Command lines of users, with the launcher by the name that it has here.
std::string Examples(std::string lines) {
  constexpr std::string_view kName = "onecopy ";
  for (size_t at = lines.find(kName); at != std::string::npos; at = lines.find(kName, at + Launcher().size()))
    lines.replace(at, kName.size() - 1, Launcher());
  return "Examples:\n" + lines;
}

void AddCommOptions(CLI::App* app, CommWish* wish) {
  constexpr const char* kGroup = "Ranks";
  const auto choice = [&](const char* name, const char* help, auto* to, auto first, auto second,
                          const char* first_name, const char* second_name) {
    app->add_option_function<std::string>(
           name, [=](const std::string& value) { *to = value == first_name ? first : second; }, help)
        ->check(CLI::IsMember({first_name, second_name}))
        ->group(kGroup);
  };
  comm::CommOptions* options = &wish->options;
  using Collectives = comm::CommOptions::Collectives;
  using Wire = comm::CommOptions::Wire;
  choice("--collectives",
         "how ranks exchange activations: shared (own shared-memory all-reduce) or mpi (MPI_Allreduce, to "
         "compare)",
         &options->collectives, Collectives::kShared, Collectives::kMpi, "shared", "mpi");
  choice("--wire",
         "how sums travel in a prefill: exact (default), or bf16: a quarter of the bytes, less precise",
         &options->wire, Wire::kExact, Wire::kBf16, "exact", "bf16");
  app->add_option("--collectives-table", wish->table,
                  "which all-reduce to take for which size: a file of bench-collectives --tune")
      ->group(kGroup);
  app->add_option("--step-deadline", options->deadline_seconds,
                  "seconds that ranks wait for one in a step before they give up")
      ->check(CLI::Range(0.1, 86400.0))
      ->group(kGroup);
}

// Parses argv into *chosen. Returns an exit code where the process should end now (help, version, usage
// error).
std::optional<int> Parse(int argc, char** argv, bool speaks, const std::vector<Command>& commands,
                         CommWish* comm_wish, const Command** chosen) {
  CLI::App app(About(), Launcher());
  app.set_version_flag("--version", VersionText,
                       "version, commit, compiler, MPI and kernels of this program");
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  for (const Command& command : commands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    if (!command.examples.empty()) sub->footer(Examples(command.examples));
    command.add_options(sub);
    AddCommOptions(sub, comm_wish);
    sub->callback([chosen, &command] { *chosen = &command; });
  }
  // CLI11 would only say that a command is missing.
  const auto is_named = [&](const Command& command) { return command.name == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && std::none_of(commands.begin(), commands.end(), is_named)) {
    if (speaks)
      std::fprintf(stderr, "onecopy: there is no command '%s'; see %s --help\n", argv[1], Launcher().c_str());
    return static_cast<int>(ErrorCode::kUsage);
  }
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& e) {  // --help, --version
    return speaks ? app.exit(e) : 0;
  } catch (const CLI::ParseError& e) {
    // What people type first is a prompt without -p, or a model without -m.
    const bool extra = dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr;
    const std::string of = argc > 1 && argv[1][0] != '-' ? std::string(argv[1]) + " " : "";
    if (speaks)
      std::fprintf(stderr, "onecopy: %s%s; see %s %s--help\n", e.what(),
                   extra ? " (a text goes with -p, a model with -m)" : "", Launcher().c_str(), of.c_str());
    return static_cast<int>(ErrorCode::kUsage);
  }
}

}  // namespace
}  // namespace onecopy::cli

int main(int argc, char** argv) {
  using namespace onecopy;
  cli::EndWithoutMemoryAsAnError();
  std::signal(SIGPIPE, SIG_IGN);  // a closed stdout is a write error, found where results are written
  log::Init(0, 1, false);
  const std::vector<cli::Command> commands = cli::AllCommands();
  const cli::Command* chosen = nullptr;
  cli::CommWish comm_wish;
  // All ranks parse the same line; only the first speaks about it.
  std::optional<int> code = cli::Parse(argc, argv, cli::LauncherRank() == 0, commands, &comm_wish, &chosen);
  if (!code) code = cli::RunAsRank(comm_wish, chosen->run);
  LeaveExitCode(*code);
  return *code;
}
