// Fifth bits of Q5_0, Q5_1 and Q5_K, and sums for the first two, whose units have float scales. Products reach
// 2 * 31 * 127, of which four fit a 16-bit sum.
#pragma once

#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

// Bit j of every byte as bit 4. The shift moves bits between bytes of a dword; the mask drops them.
inline __m256i FifthBits(__m256i bits, size_t j) {
  const int left = 4 - static_cast<int>(j);
  const __m256i bit4 = left >= 0 ? _mm256_slli_epi32(bits, left) : _mm256_srli_epi32(bits, -left);
  return _mm256_and_si256(bit4, _mm256_set1_epi8(16));
}

// The quants of a unit: nibbles in four vectors at p, behind them their fifth bits.
inline void DecodeFiveBits(const uint8_t* p, __m256i* w) {
  DecodeNibbles(p, w);
  const __m256i bits = LoadWeights(p + 16 * kRowTile);
#pragma GCC unroll 8
  for (size_t j = 0; j < 8; ++j) w[j] = _mm256_or_si256(w[j], FifthBits(bits, j));
}

// Sum of 32 columns of 8 rows: w[8] as DecodeFiveBits leaves them, times q[32].
inline __m256 FiveBitSum(const __m256i* w, const int8_t* q) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i low = _mm256_madd_epi16(PairSums<4>(w, q), ones);
  const __m256i high = _mm256_madd_epi16(PairSums<4>(w + 4, q + 16), ones);
  return _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
}

}  // namespace
}  // namespace onecopy::kernels::avx2
