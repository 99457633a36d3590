// Starts MPI, checks that the world is the one that the launcher meant, and splits it by host.
#include "runtime/comm/mpi_session.h"

#include <fmt/format.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "runtime/base/check.h"
#include "runtime/base/exit_code.h"
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
  int size;
  MPI_Comm_size(copy, &size);
  const int expected = ExpectedRanks();
  if (size == 1 && expected > 1) {
    Fail(ErrorCode::kCommunication,
         "the launcher started {} processes but MPI sees one, so each would load the whole model: start them "
         "with "
         "mpirun of the MPI that onecopy was built with, or with srun --mpi=pmix",
         expected);
  }
  all_ = GroupOf(MPI_Comm_c2f(copy));
}

MpiGroup MpiSession::Split(const MpiGroup& group, int color) const {
  return GroupOf(MPI_Comm_c2f(comm::Split(MPI_Comm_f2c(group.ranks), color, group.rank)));
}

MpiGroup MpiSession::GroupOf(MpiHandle ranks) const {
  MpiGroup group;
  group.ranks = ranks;
  const MPI_Comm all = MPI_Comm_f2c(ranks);
  MPI_Comm_rank(all, &group.rank);
  MPI_Comm_size(all, &group.size);
  MPI_Comm shared;
  CheckMpi(MPI_Comm_split_type(all, MPI_COMM_TYPE_SHARED, group.rank, MPI_INFO_NULL, &shared),
           "MPI_Comm_split_type");
  MPI_Comm_set_errhandler(shared, MPI_ERRORS_RETURN);
  if (ranks_per_pretended_host_ > 0) {
    // By the ranks of the whole job, so that a part of it lies on the hosts that all of it lies on.
    int rank_in_all;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_in_all);
    shared = comm::Split(shared, rank_in_all / ranks_per_pretended_host_, group.rank);
  }
  group.on_host = MPI_Comm_c2f(shared);
  MPI_Comm_rank(shared, &group.rank_on_host);
  MPI_Comm_size(shared, &group.ranks_on_host);

  // A host goes by the rank of its leader.
  int leader = group.rank;
  CheckMpi(MPI_Bcast(&leader, 1, MPI_INT, 0, shared), "MPI_Bcast");
  std::vector<int> leader_of(group.size);
  CheckMpi(MPI_Allgather(&leader, 1, MPI_INT, leader_of.data(), 1, MPI_INT, all), "MPI_Allgather");
  std::vector<int> sorted = leader_of;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  group.hosts.resize(sorted.size());
  const auto index_of = [&](int l) {
    return static_cast<int>(std::lower_bound(sorted.begin(), sorted.end(), l) - sorted.begin());
  };
  for (int r = 0; r < group.size; ++r) group.hosts[index_of(leader_of[r])].push_back(r);
  group.host = index_of(leader);
  group.leaders = MPI_Comm_c2f(comm::Split(all, group.rank_on_host == 0 ? 0 : MPI_UNDEFINED, group.rank));
  return group;
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

std::string MpiVersion() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);  // "Open MPI v4.1.4, package: …", also before MPI_Init
  std::string version(text, static_cast<size_t>(length));
  version.resize(std::min(version.size(), version.find_first_of(",\n")));
#ifdef OMPI_MAJOR_VERSION
  const std::string compiled =
      fmt::format("{}.{}.{}", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
  if (version.find(compiled) == std::string::npos) version += fmt::format(" (compiled for {})", compiled);
#endif
  return version;
}

void AbortMpi(int exit_code) {
  LeaveExitCode(exit_code);
  fflush(nullptr);
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);
}

}  // namespace onecopy::comm
