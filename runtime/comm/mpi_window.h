// Memory that the ranks of a host share: MPI_Win_allocate_shared, each rank's part on pages of its own.
// Collective over the host. Destruction is collective too (MPI_Win_free), unless abandoned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/comm/mpi_call.h"

namespace onecopy::comm {

class MpiWindow {
 public:
  // Throws CommError when MPI fails. Whether memory suffices is the caller's to check first
  // (RequireSharedMemory).
  MpiWindow(MpiHandle host_comm, size_t bytes_per_rank);
  ~MpiWindow();
  MpiWindow(const MpiWindow&) = delete;
  MpiWindow& operator=(const MpiWindow&) = delete;

  // By rank on host, page-aligned. Nobody has touched this rank's part yet, except where MPI does.
  const std::vector<uint8_t*>& parts() const { return parts_; }
  size_t bytes_per_rank() const { return bytes_per_rank_; }
  // From now on destruction does nothing: the peers will not take part. The kernel frees the memory with the
  // process.
  void Abandon() { abandoned_ = true; }

 private:
  struct Handle;  // holds the MPI_Win
  std::unique_ptr<Handle> handle_;
  std::vector<uint8_t*> parts_;
  const size_t bytes_per_rank_;
  bool abandoned_ = false;
};

// Throws kNoMemory when /dev/shm, where Open MPI keeps windows, has less than `ranks * bytes_per_rank` free.
// A window that does not fit would be a bus error at its first touch.
void RequireSharedMemory(int ranks, size_t bytes_per_rank);

}  // namespace onecopy::comm
