// Five-bit quants of Q5_0, Q5_1 and Q5_K. Products reach 2 * 31 * 127, of which four fit a 16-bit sum.
#pragma once

#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

// Bit j of every byte as bit 4. The shift moves bits between bytes of a dword; the mask drops them.
inline __m256i FifthBits(__m256i bits, size_t j) {
  const int left = 4 - static_cast<int>(j);
  const __m256i bit4 = left >= 0 ? _mm256_slli_epi32(bits, left) : _mm256_srli_epi32(bits, -left);
  return _mm256_and_si256(bit4, _mm256_set1_epi8(16));
}

// Columns 4j … 4j + 3 of 8 rows, of the 32 whose nibbles fill four vectors at p, behind them their fifth bits.
inline __m256i FiveBits(const uint8_t* p, size_t j) {
  return _mm256_or_si256(Nibbles(p, j), FifthBits(LoadWeights(p + 16 * kRowTile), j));
}

}  // namespace
}  // namespace onecopy::kernels::avx2
