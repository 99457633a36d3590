// onecopy's entry: parses the command line, makes the communicator, runs the command, turns errors into exit
// codes. The only place that ends the process.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/cli/collectives_file.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/placement.h"
#include "runtime/cli/same_start.h"
#include "runtime/comm/communicator.h"

namespace onecopy::cli {
namespace {

constexpr char kAbout[] =
    "onecopy: mixture-of-experts language models on NUMA servers, one copy in memory\n"
    "Start it over all NUMA nodes with launch/onecopy; run as it is, it is one rank.";

// This process's rank as its launcher numbers it; 0 without one. For messages before there is a communicator.
int LauncherRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (const char* value = std::getenv(name)) return std::atoi(value);
  return 0;
}

int Exit(ErrorCode code) {
  return static_cast<int>(code);
}

// How ranks exchange, for every command.
struct CommWish {
  comm::CommOptions options;
  std::string table;  // file; empty: the built-in choice
};

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

// Rank 0 reads it, so all have the same.
void ReadTable(const std::string& path, comm::Communicator& comm) {
  std::string text;
  OnFirstRank(comm, "reading the table of collectives", [&] {
    text = ReadTextFile(path);
    ParseCollectives(text, path);
  });
  std::vector<uint8_t> bytes(text.begin(), text.end());
  comm.Broadcast(&bytes, 0);
  comm.UseTable(ParseCollectives(std::string(bytes.begin(), bytes.end()), path));
}

// The socket of all CPUs of a seat; -1 where they lie on several or are not known.
int SocketOf(const Seat& seat) {
  if (!seat.placement.place || seat.placement.place->cpus.empty()) return -1;
  const auto& cpus = seat.placement.place->cpus;
  const int package = cpus.front().package;
  const bool same =
      std::all_of(cpus.begin(), cpus.end(), [&](const auto& c) { return c.package == package; });
  return same ? package : -1;
}

// Parses argv into *chosen. Returns an exit code where the process should end now (help, version, usage
// error).
std::optional<int> Parse(int argc, char** argv, bool speaks, const std::vector<Command>& commands,
                         CommWish* comm_wish, const Command** chosen) {
  CLI::App app(kAbout, "onecopy");
  app.set_version_flag("--version", "onecopy " ONECOPY_VERSION);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  for (const Command& command : commands) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    if (!command.examples.empty()) sub->footer("Examples:\n" + command.examples);
    command.add_options(sub);
    AddCommOptions(sub, comm_wish);
    sub->callback([chosen, &command] { *chosen = &command; });
  }
  // CLI11 would only say that a command is missing.
  const auto is_named = [&](const Command& command) { return command.name == argv[1]; };
  if (argc > 1 && argv[1][0] != '-' && std::none_of(commands.begin(), commands.end(), is_named)) {
    if (speaks) std::fprintf(stderr, "onecopy: there is no command '%s'; see onecopy --help\n", argv[1]);
    return Exit(ErrorCode::kUsage);
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
      std::fprintf(stderr, "onecopy: %s%s; see onecopy %s--help\n", e.what(),
                   extra ? " (a text goes with -p, a model with -m)" : "", of.c_str());
    return Exit(ErrorCode::kUsage);
  }
}

int Run(const Command& command, const CommWish& comm_wish) {
  comm::CommOptions comm_options = comm_wish.options;
  std::unique_ptr<comm::Communicator> comm;
  try {
    const PlacementWish wish = WishFromEnvironment();
    const numa::Topology topology = numa::ReadTopology();
    Seat seat;
    // Before MPI starts where the launcher says which rank this is, so that MPI's own memory comes to the node as well.
    // An error waits until the ranks can agree on it.
    std::optional<LocalRank> taken = LauncherLocalRank();
    std::optional<Error> error;
    try {
      if (taken) seat = TakeSeat(topology, wish, taken->rank, taken->ranks);
    } catch (const Error& e) {
      error = e;
    }
    comm_options.bind = [&](int rank_on_host, int ranks_on_host) {
      const bool same = taken == LocalRank{rank_on_host, ranks_on_host};
      if (same && error) throw *error;
      if (!same) seat = TakeSeat(topology, wish, rank_on_host, ranks_on_host);
    };
    comm_options.socket = [&](int) { return SocketOf(seat); };
    if (comm::LaunchedByMpi()) {
      comm_options.threads_per_rank = std::max(1, wish.threads);
      comm = comm::MakeMpiCommunicator(comm_options);
    } else {
      comm_options.bind(0, 1);
      comm = comm::MakeSingleCommunicator();
    }
    log::Init(comm->rank(), comm->size(), /*verbose=*/false);
    RequireSameProgram(*comm);
    if (!comm_wish.table.empty()) ReadTable(comm_wish.table, *comm);
    command.run(*comm, seat);
    comm.reset();
    return Exit(ErrorCode::kOk);
  } catch (const comm::CommError& e) {
    log::error("{}", e.what());  // each rank says what it saw
    comm::AbortMpi(Exit(e.code()));
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kInternal && comm &&
        comm->size() > 1) {  // not agreed on: the others must be told
      log::error("{}", e.what());
      comm->Abandon(e.what());
      comm::AbortMpi(Exit(e.code()));
    }
    // Set-up errors are agreed on: every rank is here with the same message, and rank 0 says it. Later ones
    // are rank 0's alone, whose engine has let the others go.
    if (LauncherRank() == 0) log::error("{}", e.what());
    if (!comm) comm::AbortMpi(Exit(e.code()));  // others may still wait in the making of theirs
    comm.reset();
    return Exit(e.code());
  } catch (const std::bad_alloc&) {
    log::error("out of memory; use fewer ranks on this node, a smaller --context or model");
    comm::AbortMpi(Exit(ErrorCode::kNoMemory));
  } catch (const std::exception& e) {
    if (comm) comm->Abandon(e.what());
    log::error("{}; this is a bug in onecopy, please report it", e.what());
    comm::AbortMpi(Exit(ErrorCode::kInternal));
  }
}

}  // namespace
}  // namespace onecopy::cli

int main(int argc, char** argv) {
  using namespace onecopy;
  std::signal(SIGPIPE, SIG_IGN);  // a closed stdout is a write error, found where results are written
  log::Init(0, 1, false);
  const std::vector<cli::Command> commands = cli::AllCommands();
  const cli::Command* chosen = nullptr;
  cli::CommWish comm_wish;
  // All ranks parse the same line; only the first speaks about it.
  if (const auto code = cli::Parse(argc, argv, cli::LauncherRank() == 0, commands, &comm_wish, &chosen))
    return *code;
  return cli::Run(*chosen, comm_wish);
}
