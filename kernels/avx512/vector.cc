// The activation and the double sums of the `avx512` table. Tails go through masks, so that an element's result does not
// depend on where it stands.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/softmax.h"

namespace onecopy::kernels::avx512 {
namespace {

inline __mmask8 TailMask8(size_t n) {
  return static_cast<__mmask8>(n < 8 ? (1u << n) - 1 : 0xffu);
}

}  // namespace

void silu_mul(const float* gate, const float* up, size_t n, float* out) {
  const __m512 one = _mm512_set1_ps(1.0f);
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 mask = TailMask(n - i);
    const __m512 x = _mm512_maskz_loadu_ps(mask, gate + i);
    // x * sigmoid(x). Where e^-x overflows the quotient is -0, as it should be.
    const __m512 silu = _mm512_div_ps(x, _mm512_add_ps(one, Exp(_mm512_sub_ps(_mm512_setzero_ps(), x))));
    _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(mask, up + i)));
  }
}

void accumulate(const double* x, size_t n, double* y) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm512_storeu_pd(y + i, _mm512_add_pd(_mm512_loadu_pd(y + i), _mm512_loadu_pd(x + i)));
  if (i < n) {
    const __mmask8 mask = TailMask8(n - i);
    const __m512d sum = _mm512_add_pd(_mm512_maskz_loadu_pd(mask, y + i), _mm512_maskz_loadu_pd(mask, x + i));
    _mm512_mask_storeu_pd(y + i, mask, sum);
  }
}

void add_sums(const double* sums, size_t n, float* x) {
  for (size_t i = 0; i < n; i += 8) {
    const __mmask8 mask = TailMask8(n - i);
    const __m512d sum = _mm512_add_pd(_mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, x + i)),
                                      _mm512_maskz_loadu_pd(mask, sums + i));
    _mm256_mask_storeu_ps(x + i, mask, _mm512_cvtpd_ps(sum));
  }
}

}  // namespace onecopy::kernels::avx512
