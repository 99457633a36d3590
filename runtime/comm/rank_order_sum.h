// The one summation order of onecopy: rank 0 + rank 1 + … for every element, however the elements are split. Also what
// is summed when terms travel as bf16. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace onecopy::comm {

// out[i] = ((in[0][first + i] + in[1][first + i]) + in[2][first + i]) + …, i < n, in f32. `out` needs no alignment; each
// input is aligned to 4 bytes. `out` may be one of the inputs (from `first`), not a shifted part of one.
void SumInRankOrder(void* out, std::span<const float* const> in, size_t first, size_t n);
// The same in f64; inputs are aligned to 8 bytes.
void SumInRankOrder(void* out, std::span<const double* const> in, size_t first, size_t n);
// Terms in bf16 (the upper half of an f32), summed in f64 and rounded to f32 once. `out` overlaps no input.
void SumInRankOrder(float* out, std::span<const uint16_t* const> in, size_t first, size_t n);

// To the nearest bf16, ties to even. Values beyond f32 become infinite, NaN stays NaN.
void RoundToBf16(const double* x, size_t n, uint16_t* out);

}  // namespace onecopy::comm
