// Quants of two bits, of which four lie in a byte (Q2_K, Q3_K), and units whose halves of 16 columns have scales of their own.
#pragma once

#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

// sum0[t], sum1[t] += the halves of the unit whose quants fill two vectors at p. Decode(w, j) makes of the pairs of columns 4j …
// 4j + 3 the bytes to multiply with. Shifts move bits between bytes of a dword; the mask drops them.
template <int T, class Decode>
inline void BitPairSums(const uint8_t* p, const Q8Row* x, size_t u, Decode decode, __m512i* sum0,
                        __m512i* sum1) {
  const __m512i pair = _mm512_set1_epi8(3);
  const __m512i bits0 = LoadWeights(p), bits1 = LoadWeights(p + 4 * kRowTile);
  for (unsigned j = 0; j < 4; ++j) {
    const __m512i w0 = _mm512_and_si512(_mm512_srli_epi32(bits0, 2 * j), pair);
    const __m512i w1 = _mm512_and_si512(_mm512_srli_epi32(bits1, 2 * j), pair);
    const size_t column = 32 * u + size_t{4} * j;
    AddColumns4<T>(decode(w0, j), x, column, sum0);
    AddColumns4<T>(decode(w1, j + 4), x, column + 16, sum1);
  }
}

}  // namespace
}  // namespace onecopy::kernels::avx512
