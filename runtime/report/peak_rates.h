// How many multiply-adds a second this machine's cores can do at best, by number format: independent multiply-add
// instructions on registers alone, on all threads at once. What a product of matrices is held against. Uses OpenMP's
// team. Not thread-safe.
#pragma once

#include <vector>

namespace onecopy::report {

struct PeakRate {
  const char* format;               // "int8" (32-bit sums), "bf16" (f32 sums), "f32"
  const char* instruction;          // "AMX tdpbssd"
  double multiply_adds_per_second;  // of all threads together
};

// A row for each such instruction of this CPU, the quickest of a format first; empty on other architectures than x86-64
// with AVX2. Takes about 30 ms a row.
std::vector<PeakRate> MeasurePeakRates(int threads);

}  // namespace onecopy::report
