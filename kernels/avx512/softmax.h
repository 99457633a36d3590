// What both attention files share: e^x and one row's step of a running softmax. In an anonymous namespace on purpose
// (avx512.h).
#pragma once

#include <math.h>

#include "kernels/avx512/vec.h"

namespace onecopy::kernels::avx512 {
namespace {

// e^x within 2 ulp, for any x: range reduction by n ln 2 in two parts and the minimax polynomial of Cephes expf (Moshier).
inline __m512 Exp(__m512 x) {
  // Bounds in this operand order let NaN through; beyond them the result is infinity or zero anyhow.
  x = _mm512_min_ps(_mm512_set1_ps(89.0f), x);
  x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

// scores[n], n > 0, become weights e^(score - max), where max is the largest so far; behind them, up to a multiple of 16,
// zeros. What was summed under the old maximum is rescaled: acc[width] (a multiple of 16), and the sums of weights by lane.
inline void UpdateSoftmax(float* scores, size_t n, float* max, __m512* sums, float* acc, size_t width) {
  const __m512 low = _mm512_set1_ps(-INFINITY);
  __m512 largest = low;
  for (size_t i = 0; i < n; i += 16)
    largest = _mm512_max_ps(largest, _mm512_mask_loadu_ps(low, TailMask(n - i), scores + i));
  const float top = _mm512_reduce_max_ps(largest);
  if (top > *max) {
    const __m512 keep = _mm512_set1_ps(expf(*max - top));  // 0 at first, where the old maximum is -infinity
    for (size_t i = 0; i < width; i += 16)
      _mm512_storeu_ps(acc + i, _mm512_mul_ps(_mm512_loadu_ps(acc + i), keep));
    *sums = _mm512_mul_ps(*sums, keep);
    *max = top;
  }
  const __m512 shift = _mm512_set1_ps(*max);
  for (size_t i = 0; i < n; i += 16) {
    const __m512 weights =
        _mm512_maskz_mov_ps(TailMask(n - i), Exp(_mm512_sub_ps(_mm512_loadu_ps(scores + i), shift)));
    _mm512_storeu_ps(scores + i, weights);
    *sums = _mm512_add_ps(*sums, weights);
  }
}

}  // namespace
}  // namespace onecopy::kernels::avx512
