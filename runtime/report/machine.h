// What this machine's memory and threads can do at best, measured: the limits that a benchmark's figures are put beside,
// and what plan predicts from. Measurements use OpenMP's team (so its pinned CPUs) and take the best of several passes:
// what other programs do meanwhile must not count. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernels.h"

namespace onecopy::report {

// Memory far beyond the caches, a part for each thread, touched by that thread.
class MemoryProbe {
 public:
  // bytes: in all; 0: 256 MB a thread, at most 4 GB. Errors: kNoMemory.
  explicit MemoryProbe(int threads, uint64_t bytes = 0);
  ~MemoryProbe();
  MemoryProbe(const MemoryProbe&) = delete;
  MemoryProbe& operator=(const MemoryProbe&) = delete;

  // Bytes a second that all threads read together, front to back.
  double ReadBandwidth(int passes = 4) const;
  // Of one thread that reads all of it, while the others idle.
  double OneThreadBandwidth(int passes = 3) const;
  // Of each thread, while all read.
  std::vector<double> ThreadBandwidths(int passes = 3) const;
  // Multiply-adds a second of one thread in the table's product of one vector, weights from memory, the other threads
  // idle. sum: matmul_sum in place of matmul. 0 where the table cannot compute with the type.
  double MatmulRate(const kernels::KernelTable& table, kernels::WeightType type, bool sum) const;
  // Seconds that the thread loses each time it goes on with a matrix that does not follow the last one in memory.
  double JumpSeconds(const kernels::KernelTable& table, kernels::WeightType type) const;

 private:
  // Seconds of the quickest of some passes of one thread over its part in matrices of `rows` rows, and their number.
  struct Pass {
    double seconds = 0, matrices = 0;
  };
  Pass ReadMatrices(const kernels::KernelTable& table, kernels::WeightType type, bool sum, uint32_t rows,
                    bool in_order) const;

  int threads_;
  size_t bytes_;  // a thread
  std::vector<uint8_t*> parts_;
};

// As MemoryProbe::ReadBandwidth; takes about a third of a second. Errors: kNoMemory.
double MeasureReadBandwidth(int threads, uint64_t bytes = 0);

// Seconds to start and join the threads for a loop in tasks; 0 for one thread.
double MeasureRegionSeconds(int threads);
// Bytes a second that a thread copies from what another thread has just written, while all do.
double MeasureCopyBandwidth(int threads);
// Seconds from one thread's write to another's seeing it. spins: the other one polls; otherwise it sleeps in the
// kernel, as ranks do that share CPUs.
double MeasureSignalSeconds(bool spins);

}  // namespace onecopy::report
