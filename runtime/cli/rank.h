// A process as a rank of its job: in its place, with a communicator, its errors turned into exit codes. What main does for
// commands, and runtime/api for other programs.
#pragma once

#include <functional>
#include <string>

#include "runtime/cli/placement.h"
#include "runtime/comm/communicator.h"

namespace onecopy::cli {

// How ranks exchange, for every command.
struct CommWish {
  comm::CommOptions options;
  std::string table;  // file; empty: the built-in choice
};

// This process's rank as its launcher numbers it; 0 without one. For messages before there is a communicator.
int LauncherRank();

// Runs body on every rank of the job that an MPI launcher started this process in, or on one rank without a launcher.
// Returns the exit code for main to end with; errors are logged. Does not return where other ranks must be told: MPI_Abort.
int RunAsRank(const CommWish& comm_wish, const std::function<void(comm::Communicator&, const Seat&)>& body);

// Runs body on rank 0 alone; all ranks agree on its outcome. For what is done without a loaded model.
void OnFirstRank(comm::Communicator& comm, const char* stage, const std::function<void()>& body);

}  // namespace onecopy::cli
