// Rows of a KV cache (kernels.h, KvType) as float, eight elements at a time, of blocks of 32: what the attention files are
// instantiated with. In an anonymous namespace on purpose (avx2.h).
#pragma once

#include "kernels/avx2/vec.h"
#include "kernels/kernels.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kRowBlock = 32;

struct F16Rows {
  struct Scale {};
  static size_t Bytes(size_t elements) { return elements * 2; }
  static Scale ScaleAt(const uint8_t* /*row*/, size_t /*block*/) { return {}; }
  static __m256 Load(const uint8_t* row, size_t i, Scale) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * i)));
  }
  // The first n < 8, zero behind them.
  static __m256 LoadTail(const uint8_t* row, size_t i, Scale, size_t n) {
    return _mm256_cvtph_ps(LoadTail16(row + 2 * i, n));
  }
};

struct Q8Rows {
  using Scale = __m256;
  static size_t Bytes(size_t elements) { return (elements + kQ8Block - 1) / kQ8Block * kQ8BlockBytes; }
  // block: its first element, a multiple of 32.
  static Scale ScaleAt(const uint8_t* row, size_t block) {
    int16_t d;
    std::memcpy(&d, row + block / kQ8Block * kQ8BlockBytes, sizeof d);
    return _mm256_cvtph_ps(_mm_set1_epi16(d));
  }
  static __m256 Load(const uint8_t* row, size_t i, Scale scale) {
    const uint8_t* q = row + i / kQ8Block * kQ8BlockBytes + 2 + i % kQ8Block;
    const __m256i quants = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(quants), scale);
  }
  // The first n < 8, zero behind them. The last block of a row is a whole one.
  static __m256 LoadTail(const uint8_t* row, size_t i, Scale scale, size_t n) {
    return _mm256_and_ps(Load(row, i, scale), _mm256_castsi256_ps(TailMask(n)));
  }
};

// The elements of a row from i on, of which the first n are wanted and the others zero.
template <class Rows>
inline __m256 LoadPart(const uint8_t* row, size_t i, size_t n) {
  if (n == 0) return _mm256_setzero_ps();
  const typename Rows::Scale scale = Rows::ScaleAt(row, i / kRowBlock * kRowBlock);
  return n >= 8 ? Rows::Load(row, i, scale) : Rows::LoadTail(row, i, scale, n);
}

}  // namespace
}  // namespace onecopy::kernels::avx2
