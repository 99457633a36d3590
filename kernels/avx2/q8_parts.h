// Integer matmul for any number of tokens. A type gives `Kernel` (Q4_K is the example), with
//   kBlockUnits         units per source block, or 0 where blocks have no header and a tile is one run of units
//   kHeaderBytes  kUnitBytes  of a tile, for its 8 rows
//   kGroup              vectors of unsigned weights whose products one 16-bit sum holds; 0: weights are signed bytes
//   Weights(p, j)       columns 4j … 4j + 3 of 8 rows, of the unit at p; or, where other pieces of a unit are decoded
//                       together, a class Decoded with Load(p) and Weights(j); of signed weights also Magnitude(j), Sign(j)
//                       (bytes above or below zero) and perhaps Scale(half): of 16 columns, in both words of each row's
//                       dword, a factor with which a weight fits 16 bits and the sum of a unit 24
//   Scales ScalesAt     the rest of the unit; Scale(scales, group): what the 16-bit sums of a group are multiplied with, where
//                       there are groups; FloatScale(scales, group) instead: the sum is float then
//   AddProducts         a unit's sum into the running sum of one token
//   Term                a unit's part of the result, alone: for sums in double (MatmulSumFn)
//   where blocks have headers: Header LoadHeader, AddOffsets (of what is proportional to the activations' sums), and
//   Finish, which makes a segment's two sums part of the result
// Integers are exact and the float operations of a token are the same in both loops, so the bits are too.
#pragma once

#include "kernels/avx2/q8_few.h"
#include "kernels/avx2/q8_panel.h"

namespace onecopy::kernels::avx2 {
namespace {

// Sum: float or double, in which a token's units are added up; Y: what they are stored as.
template <class Kernel, class Sum, class Y = Sum>
void MatmulParts(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  if (n_tokens >= 4) return MatmulPanels<Kernel, Sum>(w, x, y, n_tokens, row_begin, row_end);
  switch (n_tokens) {
    case 3:
      return MatmulFew<Kernel, 3, Sum>(w, x, y, row_begin, row_end);
    case 2:
      return MatmulFew<Kernel, 2, Sum>(w, x, y, row_begin, row_end);
    case 1:
      return MatmulFew<Kernel, 1, Sum>(w, x, y, row_begin, row_end);
    default:
      return;
  }
}

template <class Kernel>
constexpr MatmulKernel MakeMatmulParts() {
  return {ActFormat::kQ8, MatmulParts<Kernel, float>, MatmulParts<Kernel, double>,
          MatmulParts<Kernel, float, double>};
}

}  // namespace
}  // namespace onecopy::kernels::avx2
