// Quants of two bits, of which four lie in a byte (Q2_K, Q3_K), and scales of 16 columns.
#pragma once

#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

// Columns 4j … 4j + 3 of 8 rows, of the 32 whose quants fill two vectors at p. Shifts move bits between bytes of a dword; the
// mask drops them.
inline __m256i BitPairs(const uint8_t* p, size_t j) {
  const __m256i bits = _mm256_srli_epi32(LoadWeights(p + 32 * (j / 4)), 2 * static_cast<int>(j % 4));
  return _mm256_and_si256(bits, _mm256_set1_epi8(3));
}

// Scales of a unit of which each half of 16 columns has its own, dwords of 8 rows; to both words of each dword.
inline __m256i InBothWords(__m256i scale) {
  return _mm256_or_si256(_mm256_and_si256(scale, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(scale, 16));
}

}  // namespace
}  // namespace onecopy::kernels::avx2
