// What this machine can do at best, measured: the limits that a benchmark's figures are put beside.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace onecopy::report {

// Bytes a second that `threads` threads of this rank read from memory, sequentially, each from its own buffer: the
// best of several passes. Runs on OpenMP's team (so on its pinned CPUs). Takes about a third of a second.
// Errors: kNoMemory.
double MeasureReadBandwidth(int threads);

// Multiply-adds a second, times two, of one thread in the table's own matrix product of that type on cached data, for
// a prefill-sized batch. Takes about 50 ms. 0 where the table cannot compute with the type.
double MeasureMatmulRate(const kernels::KernelTable& table, kernels::WeightType type);

}  // namespace onecopy::report
