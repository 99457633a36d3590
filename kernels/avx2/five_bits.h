// Fifth bits and sums of 5-bit quants for Q5_0 and Q5_1, whose units have float scales. Products reach 2 * 31 * 127, of
// which four fit a 16-bit sum.
#pragma once

#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

// The quants of a unit: nibbles in four vectors at p, behind them bit j of every byte as bit 4 of w[j]. Shifts move bits
// between bytes of a dword; the mask drops them.
inline void DecodeFiveBits(const uint8_t* p, __m256i* w) {
  DecodeNibbles(p, w);
  const __m256i bits = LoadWeights(p + 16 * kRowTile), bit4 = _mm256_set1_epi8(16);
  w[0] = _mm256_or_si256(w[0], _mm256_and_si256(_mm256_slli_epi32(bits, 4), bit4));
  w[1] = _mm256_or_si256(w[1], _mm256_and_si256(_mm256_slli_epi32(bits, 3), bit4));
  w[2] = _mm256_or_si256(w[2], _mm256_and_si256(_mm256_slli_epi32(bits, 2), bit4));
  w[3] = _mm256_or_si256(w[3], _mm256_and_si256(_mm256_slli_epi32(bits, 1), bit4));
  w[4] = _mm256_or_si256(w[4], _mm256_and_si256(bits, bit4));
  w[5] = _mm256_or_si256(w[5], _mm256_and_si256(_mm256_srli_epi32(bits, 1), bit4));
  w[6] = _mm256_or_si256(w[6], _mm256_and_si256(_mm256_srli_epi32(bits, 2), bit4));
  w[7] = _mm256_or_si256(w[7], _mm256_and_si256(_mm256_srli_epi32(bits, 3), bit4));
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
