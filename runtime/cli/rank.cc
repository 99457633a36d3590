#include "runtime/cli/rank.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/base/current_error.h"
#include "runtime/base/exit_code.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/cli/collectives_file.h"
#include "runtime/cli/same_start.h"
#include "runtime/comm/shm_region.h"

namespace onecopy::cli {
namespace {

int Exit(ErrorCode code) {
  return static_cast<int>(code);
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

}  // namespace

void OnFirstRank(comm::Communicator& comm, const char* stage, const std::function<void()>& body) {
  std::optional<Error> error;
  if (comm.rank() == 0) {
    try {
      body();
    } catch (...) {
      error = CurrentError(stage);
    }
  }
  comm.Agree(stage, error ? &*error : nullptr);
}

int LauncherRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (const char* value = std::getenv(name)) return std::atoi(value);
  return 0;
}

int RunAsRank(const CommWish& comm_wish, const std::function<void(comm::Communicator&, const Seat&)>& body) {
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
    body(*comm, seat);
    comm.reset();
    return Exit(ErrorCode::kOk);
  } catch (const comm::CommError& e) {
    log::error("{}", e.what());  // each rank says what it saw
    comm::AbortMpi(Exit(e.code()));
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kInternal && comm &&
        comm->size() > 1) {  // not agreed on: the others must be told
      log::error("{}", e.what());
      LeaveExitCode(Exit(e.code()));  // before the others leave theirs
      comm->Abandon(e.what());
      comm::AbortMpi(Exit(e.code()));
    }
    // Set-up errors are agreed on: every rank is here with the same message, and rank 0 says it. Later ones
    // are rank 0's alone, whose engine has let the others go.
    if (LauncherRank() == 0) log::error("{}", e.what());
    if (!comm) comm::AbortMpi(Exit(e.code()));  // others may still wait in the making of theirs
    comm.reset();
    return Exit(e.code());
  } catch (...) {
    const Error error = CurrentError("running on host " + comm::HostName());
    LeaveExitCode(Exit(error.code()));
    // The others may have no memory either, and their code would then be the job's.
    if (comm && error.code() == ErrorCode::kInternal) comm->Abandon(error.what());
    log::error("{}", error.what());
    comm::AbortMpi(Exit(error.code()));
  }
}

}  // namespace onecopy::cli
