// The collectives over per-rank regions of shared memory, independent of how that memory came about: MPI
// windows between processes, plain memory between threads. Long messages go in pieces of the window's size.
//
// Belongs to one thread of its rank at a time; all ranks call the same operations in the same order with the
// same sizes. Errors: CommError, see shm_sync.h. All results are the same bits on every rank.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/comm/shm_all_reduce.h"
#include "runtime/comm/shm_sync.h"

namespace onecopy::comm {

// The ranks of each host, ascending, and which of the hosts this is.
struct HostMap {
  std::vector<std::vector<int>> ranks;
  int mine = 0;
};

class ShmCollectives {
 public:
  // As ShmSync. options.window_bytes is the same on all ranks, a multiple of 128.
  ShmCollectives(int rank, std::vector<uint8_t*> regions, const ShmOptions& options,
                 CommOptions::Wire wire = CommOptions::Wire::kExact);

  int rank() const { return sync_.rank(); }
  int size() const { return sync_.size(); }

  void Barrier();
  // See Communicator for the meaning of each.
  void AllReduceSum(std::span<float> x) { all_reduce_.AllReduceSum(x); }
  void AllReduceRows(std::span<double> terms, size_t cols, const Communicator::RowSink& sink) {
    all_reduce_.AllReduceRows(terms, cols, wire_, sink);
  }
  void AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds, bool wanted);
  void Broadcast(std::vector<uint8_t>* bytes, int root);
  std::vector<std::vector<uint8_t>> AllGatherBytes(const std::vector<uint8_t>& bytes);
  // `n` bytes of root's `data` to the others' `data`; every rank knows n.
  void BroadcastInto(void* data, size_t n, int root);

  // From now on AllReduceSum, AllReduceRows and AllGatherColumns are over all ranks of several hosts; the rest stays
  // within this one. link: of this host's rank 0, null on the others; outlives this.
  void JoinHosts(const HostMap& hosts, LeaderLink* link);
  ShmAllReduce& all_reduce() { return all_reduce_; }
  const ShmAllReduce& all_reduce() const { return all_reduce_; }
  ShmSync& sync() { return sync_; }
  const ShmSync& sync() const { return sync_; }

 private:
  void GatherOverHosts(float* x, size_t n_rows, std::span<const uint32_t> bounds);

  ShmSync sync_;
  ShmAllReduce all_reduce_;
  const size_t window_bytes_;
  const double barrier_deadline_seconds_;
  const CommOptions::Wire wire_;
  HostMap hosts_;
  LeaderLink* link_ = nullptr;
};

}  // namespace onecopy::comm
