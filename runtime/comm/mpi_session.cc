// Starts MPI, checks that the world is the one that the launcher meant, and splits it by host.
#include "runtime/comm/mpi_session.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "runtime/base/check.h"
#include "runtime/comm/communicator.h"

namespace onecopy::comm {
namespace {

int EnvironmentInt(const char* name) {
  const char* text = getenv(name);
  return text == nullptr ? 0 : atoi(text);
}

// What the launcher says, 0 where it says nothing. A world smaller than that would be N models instead of
// one.
int ExpectedRanks() {
  if (const int n = EnvironmentInt("OMPI_COMM_WORLD_SIZE"); n > 0) return n;
  if (const int n = EnvironmentInt("PMI_SIZE"); n > 0) return n;
  return EnvironmentInt("SLURM_STEP_NUM_TASKS");
}

MPI_Comm Split(MPI_Comm comm, int color, int key) {
  MPI_Comm out;
  CheckMpi(MPI_Comm_split(comm, color, key, &out), "MPI_Comm_split");
  if (out != MPI_COMM_NULL) MPI_Comm_set_errhandler(out, MPI_ERRORS_RETURN);
  return out;
}

}  // namespace

void CheckMpi(int result, const char* call) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw CommError(-1, fmt::format("{} failed: {}", call, text));
}

std::shared_ptr<MpiSession> MpiSession::Acquire(int ranks_per_pretended_host) {
  static std::weak_ptr<MpiSession> current;
  std::shared_ptr<MpiSession> session = current.lock();
  if (session == nullptr) {
    session.reset(new MpiSession(ranks_per_pretended_host));
    current = session;
  }
  ONECOPY_CHECK(session->ranks_per_pretended_host_ == ranks_per_pretended_host);
  return session;
}

MpiSession::MpiSession(int ranks_per_pretended_host) : ranks_per_pretended_host_(ranks_per_pretended_host) {
  int provided = MPI_THREAD_SINGLE;
  CheckMpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  // An exception from here on leaves MPI running, as no destructor follows; main then aborts the job.
  if (provided < MPI_THREAD_FUNNELED) {
    Fail(ErrorCode::kCommunication, "this MPI allows no threads beside it (level {}); install one that does",
         provided);
  }
  MPI_Comm copy;
  CheckMpi(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
  MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN);
  MPI_Comm_rank(copy, &rank);
  MPI_Comm_size(copy, &size);
  const int expected = ExpectedRanks();
  if (size == 1 && expected > 1) {
    Fail(ErrorCode::kCommunication,
         "the launcher started {} processes but MPI sees one, so each would load the whole model: start them "
         "with "
         "mpirun of the MPI that onecopy was built with, or with srun --mpi=pmix",
         expected);
  }
  MPI_Comm shared;
  CheckMpi(MPI_Comm_split_type(copy, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &shared),
           "MPI_Comm_split_type");
  MPI_Comm_set_errhandler(shared, MPI_ERRORS_RETURN);
  if (ranks_per_pretended_host > 0) {
    int index;
    MPI_Comm_rank(shared, &index);
    shared = Split(shared, index / ranks_per_pretended_host, rank);
  }
  world = MPI_Comm_c2f(copy);
  on_host = MPI_Comm_c2f(shared);
  MPI_Comm_rank(shared, &rank_on_host);
  MPI_Comm_size(shared, &ranks_on_host);
  FindHosts();
}

void MpiSession::FindHosts() {
  const MPI_Comm all = MPI_Comm_f2c(world);
  // A host goes by the world rank of its leader.
  int leader = rank;
  CheckMpi(MPI_Bcast(&leader, 1, MPI_INT, 0, MPI_Comm_f2c(on_host)), "MPI_Bcast");
  std::vector<int> leader_of(size);
  CheckMpi(MPI_Allgather(&leader, 1, MPI_INT, leader_of.data(), 1, MPI_INT, all), "MPI_Allgather");
  std::vector<int> sorted = leader_of;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  hosts.resize(sorted.size());
  const auto index_of = [&](int l) {
    return static_cast<int>(std::lower_bound(sorted.begin(), sorted.end(), l) - sorted.begin());
  };
  for (int r = 0; r < size; ++r) hosts[index_of(leader_of[r])].push_back(r);
  host = index_of(leader);
  leaders = MPI_Comm_c2f(Split(all, rank_on_host == 0 ? 0 : MPI_UNDEFINED, rank));
}

MpiSession::~MpiSession() {
  if (!abandoned_) MPI_Finalize();
}

bool LaunchedByMpi() {
  // mpirun of Open MPI; PMIx: srun --mpi=pmix and Open MPI 5; PMI: mpiexec of MPICH and its kin, srun
  // --mpi=pmi2.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (getenv(name) != nullptr) return true;
  }
  // srun without any of them, but several tasks: MpiSession refuses it, instead of one model per task.
  return EnvironmentInt("SLURM_STEP_NUM_TASKS") > 1;
}

void AbortMpi(int exit_code) {
  fflush(nullptr);
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);
}

}  // namespace onecopy::comm
