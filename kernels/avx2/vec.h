// Small vector helpers for the files of this folder: sums, tails, exp. In an anonymous namespace on purpose
// (avx2.h).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace onecopy::kernels::avx2 {
namespace {

inline __m256 BroadcastF32(const float* p) {
  return _mm256_broadcast_ss(p);
}

// The sum of the eight lanes of each of eight vectors, in one fixed order; SumLanes gives the same bits for
// one.
inline __m256 SumLanes8(const __m256* v) {
  const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
  const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}
inline float SumLanes(__m256 v) {
  const __m256 a = _mm256_hadd_ps(v, v);
  const __m256 b = _mm256_hadd_ps(a, a);
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1)));
}
inline float MaxLanes(__m256 v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
inline int32_t SumLanesI32(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

// All bits set in lanes below n; n may be above 8.
inline __m256i TailMask(size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n < 8 ? n : 8)), lane);
}

inline __m256 LoadF16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
// The first n < 8 of 16-bit elements, zero behind them.
inline __m128i LoadTail16(const void* p, size_t n) {
  uint16_t buffer[8] = {};
  std::memcpy(buffer, p, n * sizeof(uint16_t));
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(buffer));
}

// e^x within 2 ulp, for any x: range reduction by n ln 2 in two parts and the minimax polynomial of Cephes
// expf (Moshier). 2^n is applied in two halves, so that subnormal results and those just below overflow come
// out right.
inline __m256 Exp(__m256 x) {
  // Bounds in this operand order let NaN through; beyond them the result is infinity or zero anyhow.
  x = _mm256_min_ps(_mm256_set1_ps(89.0f), x);
  x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x);
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 p = _mm256_set1_ps(1.9875691500e-4f);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
  p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
  const __m256i power = _mm256_cvtps_epi32(n);
  const __m256i first = _mm256_srai_epi32(power, 1);
  const __m256i second = _mm256_sub_epi32(power, first);
  const __m256i bias = _mm256_set1_epi32(127);
  p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(first, bias), 23)));
  return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(second, bias), 23)));
}

// The largest of x[n], n > 0.
inline float MaxOf(const float* x, size_t n) {
  // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): to the analyser a number that is rounded up may be 0
  __m256 max = _mm256_set1_ps(x[0]);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) max = _mm256_max_ps(max, _mm256_loadu_ps(x + i));
  float largest = MaxLanes(max);
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

// x[i] = e^(x[i] - max); returns the sum.
inline float ExpInPlace(float* x, size_t n, float max) {
  const __m256 shift = _mm256_set1_ps(max);
  __m256 sum = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 e = Exp(_mm256_sub_ps(_mm256_loadu_ps(x + i), shift));
    _mm256_storeu_ps(x + i, e);
    sum = _mm256_add_ps(sum, e);
  }
  if (i < n) {
    const __m256i mask = TailMask(n - i);
    const __m256 e = Exp(_mm256_sub_ps(_mm256_maskload_ps(x + i, mask), shift));
    _mm256_maskstore_ps(x + i, mask, e);
    sum = _mm256_add_ps(sum, _mm256_and_ps(e, _mm256_castsi256_ps(mask)));
  }
  return SumLanes(sum);
}

}  // namespace
}  // namespace onecopy::kernels::avx2
