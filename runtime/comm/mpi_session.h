// MPI itself: start, end, and how the ranks lie on hosts. One per process; belongs to the main thread.
#pragma once

#include <memory>
#include <vector>

#include "runtime/comm/mpi_call.h"

namespace onecopy::comm {

// Some ranks, and how they lie on hosts.
struct MpiGroup {
  MpiHandle ranks = 0;    // a communicator of all of them, which nobody else uses
  MpiHandle on_host = 0;  // those that share memory with this one, in order
  MpiHandle leaders = 0;  // the first rank of each host, in order; valid on those ranks only

  int rank = 0, size = 0;
  int rank_on_host = 0, ranks_on_host = 0;
  int host = 0;                         // index of this rank's host, by the order of leaders
  std::vector<std::vector<int>> hosts;  // ranks of each host, ascending
};

// MPI_Init_thread(FUNNELED) … MPI_Finalize.
class MpiSession {
 public:
  // The session of this process, started by the first call and ended with its last owner: MPI can be started once, but
  // a benchmark wants two communicators. ranks_per_pretended_host: as in CommOptions, the same in all calls.
  static std::shared_ptr<MpiSession> Acquire(int ranks_per_pretended_host);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  const MpiGroup& all() const { return all_; }
  // Those ranks of `group` that give the same color, in its order. Collective.
  MpiGroup Split(const MpiGroup& group, int color) const;

  // MPI_Finalize waits for all ranks; after this, destruction leaves it out.
  void Abandon() { abandoned_ = true; }

 private:
  explicit MpiSession(int ranks_per_pretended_host);
  // ranks: an MPI_Comm's handle.
  MpiGroup GroupOf(MpiHandle ranks) const;

  const int ranks_per_pretended_host_;
  MpiGroup all_;
  bool abandoned_ = false;
};

}  // namespace onecopy::comm
