// Nibbles that stand for levels of -127 … 127 (IQ4_NL, IQ4_XS).
#pragma once

#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

// kLevelsIQ4 (types/iq4.h).
inline __m128i LevelsIQ4() {
  return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}

// Columns 4j … 4j + 3 of 8 rows, of the 32 whose nibbles are at p.
inline __m256i Levels(const uint8_t* p, size_t j) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(LevelsIQ4()), Nibbles(p, j));
}

}  // namespace
}  // namespace onecopy::kernels::avx2
