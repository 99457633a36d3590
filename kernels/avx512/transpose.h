// Sixteen vectors as a square. In an anonymous namespace on purpose (avx512.h).
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace onecopy::kernels::avx512 {
namespace {

// Sixteen rows of sixteen, in place.
inline void Transpose16(__m512* r) {
  __m512 a[16], b[16];
  for (size_t i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  // b[i + j]: column 4 l + j of rows i … i + 3 in 128-bit lane l.
  for (size_t i = 0; i < 16; i += 4) {
    for (size_t j = 0; j < 2; ++j) {
      b[i + 2 * j] = _mm512_shuffle_ps(a[i + j], a[i + j + 2], 0x44);
      b[i + 2 * j + 1] = _mm512_shuffle_ps(a[i + j], a[i + j + 2], 0xee);
    }
  }
  for (size_t j = 0; j < 4; ++j) {
    const __m512 even0 = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88),
                 odd0 = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd);
    const __m512 even1 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88),
                 odd1 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
    r[j] = _mm512_shuffle_f32x4(even0, even1, 0x88);
    r[8 + j] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
    r[4 + j] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
    r[12 + j] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
  }
}

}  // namespace
}  // namespace onecopy::kernels::avx512
