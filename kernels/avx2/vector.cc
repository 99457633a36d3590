// Norm, rotation, activation, softmax and the f16 cache of the `avx2` table. Tails go through masked loads
// and stores, so that an element's result does not depend on where it stands.
#include <math.h>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/vec.h"

namespace onecopy::kernels::avx2 {
namespace {

inline __m256 MaskLoad(const float* p, size_t n) {
  return _mm256_maskload_ps(p, TailMask(n));
}

// x * sigmoid(x). Where e^-x overflows the quotient is -0, as it should be.
inline __m256 Silu(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0f);
  return _mm256_div_ps(x, _mm256_add_ps(one, Exp(_mm256_sub_ps(_mm256_setzero_ps(), x))));
}

}  // namespace

void rms_norm(const float* x, const float* weight, float eps, size_t n, float* out) {
  // 32 partial sums, in double over the lanes: at most n / 32 float additions follow each other.
  __m256 sums[4];
  for (auto& sum : sums) sum = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    for (size_t j = 0; j < 4; ++j) {
      const __m256 v = _mm256_loadu_ps(x + i + 8 * j);
      sums[j] = _mm256_fmadd_ps(v, v, sums[j]);
    }
  }
  for (size_t j = 0; i < n; i += 8, ++j) {
    const __m256 v = MaskLoad(x + i, n - i);
    sums[j] = _mm256_fmadd_ps(v, v, sums[j]);
  }
  double total = 0;
  for (const auto& sum : sums) {
    float lanes[8];
    _mm256_storeu_ps(lanes, sum);
    for (const float lane : lanes) total += lane;
  }
  const __m256 scale = _mm256_set1_ps(static_cast<float>(1.0 / sqrt(total / static_cast<double>(n) + eps)));
  for (i = 0; i + 8 <= n; i += 8) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), scale);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
  }
  if (i < n) {
    const __m256 scaled = _mm256_mul_ps(MaskLoad(x + i, n - i), scale);
    _mm256_maskstore_ps(out + i, TailMask(n - i), _mm256_mul_ps(scaled, MaskLoad(weight + i, n - i)));
  }
}

void rope_neox(float* x, const float* cos_sin, size_t half) {
  size_t i = 0;
  for (; i + 8 <= half; i += 8) {
    // {c0 s0 c1 s1 …} to cosines and sines: the shuffle works inside 128-bit lanes, the permutation mends the
    // order.
    const __m256 first = _mm256_loadu_ps(cos_sin + 2 * i), second = _mm256_loadu_ps(cos_sin + 2 * i + 8);
    const __m256 cosines = _mm256_castpd_ps(
        _mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(first, second, 0x88)), 0xd8));
    const __m256 sines = _mm256_castpd_ps(
        _mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(first, second, 0xdd)), 0xd8));
    const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i);
    _mm256_storeu_ps(x + i, _mm256_fmsub_ps(a, cosines, _mm256_mul_ps(b, sines)));
    _mm256_storeu_ps(x + half + i, _mm256_fmadd_ps(b, cosines, _mm256_mul_ps(a, sines)));
  }
  for (; i < half; ++i) {
    const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
    const float a = x[i], b = x[i + half];
    x[i] = a * c - b * s;
    x[i + half] = b * c + a * s;
  }
}

void rope_pairwise(float* x, const float* cos_sin, size_t half) {
  for (size_t i = 0; i < 2 * half; i += 8) {
    const size_t n = 2 * half - i;
    const __m256 angles = MaskLoad(cos_sin + i, n);
    const __m256 pairs = MaskLoad(x + i, n);  // a b a b …
    const __m256 swapped = _mm256_permute_ps(pairs, 0xb1);
    const __m256 crossed = _mm256_mul_ps(swapped, _mm256_movehdup_ps(angles));  // b s, a s
    _mm256_maskstore_ps(x + i, TailMask(n), _mm256_fmaddsub_ps(pairs, _mm256_moveldup_ps(angles), crossed));
  }
}

void silu_mul(const float* gate, const float* up, size_t n, float* out) {
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i, _mm256_mul_ps(Silu(_mm256_loadu_ps(gate + i)), _mm256_loadu_ps(up + i)));
  }
  if (i < n) {
    const __m256 value = _mm256_mul_ps(Silu(MaskLoad(gate + i, n - i)), MaskLoad(up + i, n - i));
    _mm256_maskstore_ps(out + i, TailMask(n - i), value);
  }
}

void axpy(float a, const float* x, size_t n, float* y) {
  const __m256 factor = _mm256_set1_ps(a);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(y + i, _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
  }
  if (i < n) {
    const __m256 value = _mm256_fmadd_ps(factor, MaskLoad(x + i, n - i), MaskLoad(y + i, n - i));
    _mm256_maskstore_ps(y + i, TailMask(n - i), value);
  }
}

void accumulate(const double* x, size_t n, double* y) {
  size_t i = 0;
  for (; i + 4 <= n; i += 4)
    _mm256_storeu_pd(y + i, _mm256_add_pd(_mm256_loadu_pd(y + i), _mm256_loadu_pd(x + i)));
  for (; i < n; ++i) y[i] += x[i];
}

void add_sums(const double* sums, size_t n, float* x) {
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const __m256d sum = _mm256_add_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + i)), _mm256_loadu_pd(sums + i));
    _mm_storeu_ps(x + i, _mm256_cvtpd_ps(sum));
  }
  for (; i < n; ++i) x[i] = static_cast<float>(x[i] + sums[i]);
}

void softmax(float* x, size_t n) {
  if (n == 0) return;
  const float sum = ExpInPlace(x, n, MaxOf(x, n));
  const __m256 inverse = _mm256_set1_ps(1.0f / sum);
  size_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), inverse));
  if (i < n) _mm256_maskstore_ps(x + i, TailMask(n - i), _mm256_mul_ps(MaskLoad(x + i, n - i), inverse));
}

void store_kv_f16(const float* x, size_t n, void* out) {
  auto* half = static_cast<uint16_t*>(out);
  constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i v = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), kNearestEven);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(half + i), v);
  }
  if (i < n) {
    uint16_t tail[8];
    const __m128i v = _mm256_cvtps_ph(MaskLoad(x + i, n - i), kNearestEven);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(tail), v);
    std::memcpy(half + i, tail, (n - i) * sizeof(uint16_t));
  }
}

}  // namespace onecopy::kernels::avx2
