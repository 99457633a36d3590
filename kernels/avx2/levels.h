// Nibbles that stand for levels of -127 … 127 (IQ4_NL, IQ4_XS), and the sums of their products with Q8 activations.
// maddubs wants one unsigned operand, so the weight's sign goes to the activation; one product of at most 2 * 127 * 127 fits
// 16 bits.
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

// sum[t] = 32 columns of 8 rows times the activations of token t at q[t], every pair of products times `scale`, in both
// words of each row's dword.
template <int T>
inline void SignedSums(const uint8_t* nibbles, const Q8Row* x, size_t u, __m256i scale, __m256i* sum) {
  for (int t = 0; t < T; ++t) sum[t] = _mm256_setzero_si256();
#pragma GCC unroll 8
  for (size_t j = 0; j < 8; ++j) {
    const __m256i w = Levels(nibbles, j), magnitude = _mm256_abs_epi8(w);
    for (int t = 0; t < T; ++t) {
      const __m256i q = _mm256_sign_epi8(Broadcast4(x[t].q + 32 * u + 4 * j), w);
      sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, q), scale));
    }
  }
}

}  // namespace
}  // namespace onecopy::kernels::avx2
