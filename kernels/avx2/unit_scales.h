// Types whose units stand alone, without a header, each with a float scale: what q8_parts.h asks of their scales.
#pragma once

#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

struct LoneUnits {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  template <class Scales>
  static __m256i Scale(const Scales&, size_t) {
    return _mm256_set1_epi16(1);
  }
};

// Quants that are kOffset too large, so that none is negative; it is taken off by way of the sums of the activations.
template <__m256 (*kLoadScales)(const uint8_t*), int kOffset>
struct OffsetUnits : LoneUnits {
  struct Scales {
    __m256 d;
  };
  static Scales ScalesAt(const uint8_t* p) { return {kLoadScales(p)}; }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    *acc = _mm256_fmadd_ps(scales.d, Products(sum, x), *acc);
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(scales.d, Products(sum, x));
  }

 private:
  static __m256 Products(__m256i sum, const TokenScales& x) {
    const __m256 offset = _mm256_mul_ps(_mm256_set1_ps(static_cast<float>(kOffset)), x.s);
    return _mm256_fmsub_ps(_mm256_cvtepi32_ps(sum), x.d, offset);
  }
};

// A minimum behind the scale, which meets the sum of the activations.
struct MinUnits : LoneUnits {
  struct Scales {
    __m256 d, m;
  };
  static Scales ScalesAt(const uint8_t* p) { return {LoadScales(p), LoadScales(p + 2 * kRowTile)}; }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    *acc = _mm256_fmadd_ps(scales.d, Products(sum, x), _mm256_fmadd_ps(scales.m, x.s, *acc));
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_fmadd_ps(scales.d, Products(sum, x), _mm256_mul_ps(scales.m, x.s));
  }

 private:
  static __m256 Products(__m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
  }
};

}  // namespace
}  // namespace onecopy::kernels::avx2
