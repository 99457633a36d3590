// What memory and cores of this run's ranks can do at best, measured: what bench puts its figures beside.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/cli/model_session.h"

namespace onecopy::cli {

struct BenchLimits {
  // Bytes a second read from memory: one thread of rank 0, all threads of rank 0, and all ranks at once.
  double read_thread = 0, read_rank = 0, read_all = 0;
  // Multiply-adds a second on registers, quickest first within a format; report/peak_rates.h.
  struct Peak {
    std::string format, instruction;
    double rank = 0, all = 0;
  };
  std::vector<Peak> peaks;
  // The number format that the model's products are made in, and the multiply-adds a second of the kernel table's product
  // of 64 vectors with weights of `weight_type` (that of most of the model) in the caches, all ranks together.
  std::string format, weight_type;
  double kernel_all = 0;

  // The quickest instruction for `format`; where the CPU has none, that for f32; 0 where nothing was measured.
  double PeakOfModel() const;
};

// Collective; the result is complete on rank 0 only. Takes a second or two.
BenchLimits MeasureBenchLimits(ModelSession& session);

}  // namespace onecopy::cli
