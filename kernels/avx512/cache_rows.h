// Rows of a KV cache (kernels.h, KvType) as float, sixteen elements at a time, of blocks of 32: what the attention files
// are instantiated with. In an anonymous namespace on purpose (avx512.h).
#pragma once

#include "kernels/avx512/vec.h"
#include "kernels/kernels.h"

namespace onecopy::kernels::avx512 {
namespace {

constexpr size_t kRowBlock = 32;

struct F16Rows {
  struct Scale {};
  static size_t Bytes(size_t elements) { return elements * 2; }
  static Scale ScaleAt(const uint8_t* /*row*/, size_t /*block*/) { return {}; }
  static __m512 Load(const uint8_t* row, size_t i, Scale, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * i));
  }
};

struct Q8Rows {
  using Scale = __m512;
  static size_t Bytes(size_t elements) { return (elements + kQ8Block - 1) / kQ8Block * kQ8BlockBytes; }
  // block: its first element, a multiple of 32.
  static Scale ScaleAt(const uint8_t* row, size_t block) {
    int16_t d;
    std::memcpy(&d, row + block / kQ8Block * kQ8BlockBytes, sizeof d);
    return _mm512_cvtph_ps(_mm256_set1_epi16(d));
  }
  static __m512 Load(const uint8_t* row, size_t i, Scale scale, __mmask16 mask) {
    const uint8_t* q = row + i / kQ8Block * kQ8BlockBytes + 2 + i % kQ8Block;
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, q))), scale);
  }
};

// The elements of a row from i on, of which the first n are wanted and the others zero.
template <class Rows>
inline __m512 LoadPart(const uint8_t* row, size_t i, size_t n) {
  if (n == 0) return _mm512_setzero_ps();
  return Rows::Load(row, i, Rows::ScaleAt(row, i / kRowBlock * kRowBlock), TailMask(n));
}

}  // namespace
}  // namespace onecopy::kernels::avx512
