// Small vector helpers for the files of this folder. In an anonymous namespace on purpose (avx512.h).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace onecopy::kernels::avx512 {
namespace {

inline __m512 BroadcastF32(const float* p) {
  return _mm512_set1_ps(*p);
}

// Lanes below n; n may be above 16.
inline __mmask16 TailMask(size_t n) {
  return static_cast<__mmask16>(n < 16 ? (1u << n) - 1 : 0xffffu);
}

// f16[16]
inline __m512 LoadF16(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

}  // namespace
}  // namespace onecopy::kernels::avx512
