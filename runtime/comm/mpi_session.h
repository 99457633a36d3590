// MPI itself: start, end, and how the ranks lie on hosts. One per process; belongs to the main thread.
#pragma once

#include <memory>
#include <vector>

#include "runtime/comm/mpi_call.h"

namespace onecopy::comm {

// MPI_Init_thread(FUNNELED) … MPI_Finalize, and the three communicators.
class MpiSession {
 public:
  // The session of this process, started by the first call and ended with its last owner: MPI can be started once, but
  // a benchmark wants two communicators. ranks_per_pretended_host: as in CommOptions, the same in all calls.
  static std::shared_ptr<MpiSession> Acquire(int ranks_per_pretended_host);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  MpiHandle world = 0;    // a copy of MPI_COMM_WORLD
  MpiHandle on_host = 0;  // the ranks that share memory with this one, in world order
  MpiHandle leaders = 0;  // the first rank of each host, in world order; valid on those ranks only

  int rank = 0, size = 0;
  int rank_on_host = 0, ranks_on_host = 0;
  int host = 0;                         // index of this rank's host, by the order of leaders
  std::vector<std::vector<int>> hosts;  // world ranks of each host, ascending

  // MPI_Finalize waits for all ranks; after this, destruction leaves it out.
  void Abandon() { abandoned_ = true; }

 private:
  explicit MpiSession(int ranks_per_pretended_host);
  void FindHosts();

  const int ranks_per_pretended_host_;
  bool abandoned_ = false;
};

}  // namespace onecopy::comm
