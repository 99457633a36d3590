// Measures all-reduces: own algorithms beside MPI_Allreduce and a plain copy, in one run. Collective: all ranks measure
// together; the calls of the variants alternate, so that a busy machine hurts all alike.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace onecopy::cli {

struct Latency {
  double median_us = 0, p99_us = 0;
  size_t samples = 0;  // calls of all ranks together
};

// What is measured of one size on one number of ranks, by name:
//   "one-phase", "two-phases", "by-socket"   AllReduceSum of f32, forced to this algorithm
//   "choice"                                 AllReduceSum as it chooses
//   "mpi"                                    MPI_Allreduce of f32 as Open MPI chooses
//   "rows", "rows mpi", "rows bf16"          AllReduceRows of f64 terms with a residual added; bytes are of the terms
//   "copy"                                   memcpy of as many bytes from another rank's buffer
struct CollectivesRow {
  int ranks = 0, sockets = 1;
  size_t bytes = 0;
  comm::Algorithm choice = comm::Algorithm::kOnePhase;
  std::map<std::string, Latency> latency;
};

struct CollectivesPlan {
  std::vector<size_t> bytes;
  std::vector<int> ranks;  // each at least 2, at most the communicator's
  double seconds = 60;     // for all together
};

// table: what "choice" chooses from. The rows on rank 0; nothing on the others.
std::vector<CollectivesRow> MeasureCollectives(comm::Communicator& comm, const comm::CollectivesTable& table,
                                               const CollectivesPlan& plan);

// The fastest algorithm for each size, as measured.
comm::CollectivesTable TableOf(const std::vector<CollectivesRow>& rows);

}  // namespace onecopy::cli
