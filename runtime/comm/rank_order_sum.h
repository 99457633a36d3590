// The one summation order of onecopy: rank 0 + rank 1 + … for every element, however the elements are split.
#pragma once

#include <cstddef>
#include <span>

namespace onecopy::comm {

// out[i] = ((in[0][i] + in[1][i]) + in[2][i]) + …, i < n, in f32. `out` needs no alignment; each input is
// aligned to 4 bytes. `out` may be one of the inputs, not a shifted part of one.
void SumInRankOrder(void* out, std::span<const float* const> in, size_t n);
// The same in f64; inputs are aligned to 8 bytes.
void SumInRankOrder(void* out, std::span<const double* const> in, size_t n);

}  // namespace onecopy::comm
