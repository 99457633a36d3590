// Quants of two bits, of which four lie in a byte (Q2_K, Q3_K), and scales of 16 columns.
#pragma once

#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

// w[i] = bits 2i, 2i + 1 of every byte of the vector at p: columns 4i.. of 16. Shifts move bits between bytes of a dword; the
// mask drops them.
inline void DecodeBitPairs(const uint8_t* p, __m256i* w) {
  const __m256i bits = LoadWeights(p), mask = _mm256_set1_epi8(3);
  w[0] = _mm256_and_si256(bits, mask);
  w[1] = _mm256_and_si256(_mm256_srli_epi32(bits, 2), mask);
  w[2] = _mm256_and_si256(_mm256_srli_epi32(bits, 4), mask);
  w[3] = _mm256_and_si256(_mm256_srli_epi32(bits, 6), mask);
}

// Scales of a unit of which each half of 16 columns has its own, dwords of 8 rows; to both words of each dword.
inline __m256i InBothWords(__m256i scale) {
  return _mm256_or_si256(_mm256_and_si256(scale, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(scale, 16));
}

// 32 columns of 8 rows: the pair sums of each half times its scale.
inline __m256 TwoScaleSum(const __m256i* w, const int8_t* q, __m256i scale0, __m256i scale1) {
  const __m256i low = _mm256_madd_epi16(PairSums<4>(w, q), scale0);
  const __m256i high = _mm256_madd_epi16(PairSums<4>(w + 4, q + 16), scale1);
  return _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
}

}  // namespace
}  // namespace onecopy::kernels::avx2
