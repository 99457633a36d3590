// Activations to int8 per 32 columns (kernels.h, Q8RowBytes), and rows of a q8_0 cache, bit for bit as ref/quantize.cc for finite
// input.
#include <cfloat>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/vec.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr float kSmallestMax = 127 * FLT_MIN;  // below it the reciprocal of d would overflow

// One unit: x[32] -> q[32], d, s0, s1.
inline void QuantizeUnit(const float* x, int8_t* q, float* d, float* s0, float* s1) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 v[4], max = _mm256_setzero_ps(), poison = _mm256_setzero_ps();
  for (size_t i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    max = _mm256_max_ps(max, _mm256_andnot_ps(sign, v[i]));
    poison = _mm256_add_ps(poison, _mm256_sub_ps(v[i], v[i]));  // NaN from what is not finite: d must show it
  }
  const float largest = MaxLanes(max);
  const bool zero = !(largest >= kSmallestMax);
  const float scale = zero ? 0.0f : largest / 127.0f;
  const __m256 inverse = _mm256_set1_ps(zero ? 0.0f : 1.0f / scale);
  __m256i n[4];
  for (size_t i = 0; i < 4; ++i) n[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
  *d = scale + SumLanes(poison);
  *s0 = *d * static_cast<float>(SumLanesI32(_mm256_add_epi32(n[0], n[1])));
  *s1 = *d * static_cast<float>(SumLanesI32(_mm256_add_epi32(n[2], n[3])));
  // The packs work inside 128-bit lanes; the permutation puts the dwords back in order.
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
  const __m256i ordered = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), ordered);
}

}  // namespace

void quantize_q8(const float* x, size_t cols, void* out) {
  const size_t units = (cols + 31) / 32;
  auto* q = static_cast<int8_t*>(out);
  auto* d = reinterpret_cast<float*>(q + 32 * units);
  const size_t whole = cols / 32;
  for (size_t u = 0; u < whole; ++u) {
    QuantizeUnit(x + 32 * u, q + 32 * u, d + u, d + units + u, d + 2 * units + u);
  }
  if (whole < units) {
    float tail[32] = {};
    std::memcpy(tail, x + 32 * whole, (cols - 32 * whole) * sizeof(float));
    QuantizeUnit(tail, q + 32 * whole, d + whole, d + units + whole, d + 2 * units + whole);
  }
}

void store_kv_q8_0(const float* x, size_t n, void* out) {
  auto* block = static_cast<uint8_t*>(out);
  const auto store = [](const float* unit, uint8_t* to) {
    float d, s0, s1;
    QuantizeUnit(unit, reinterpret_cast<int8_t*>(to + 2), &d, &s0, &s1);
    const auto half = static_cast<uint16_t>(
        _mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(d), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), 0));
    std::memcpy(to, &half, sizeof half);
  };
  size_t i = 0;
  for (; i + kQ8Block <= n; i += kQ8Block, block += kQ8BlockBytes) store(x + i, block);
  if (i < n) {
    float tail[kQ8Block] = {};
    std::memcpy(tail, x + i, (n - i) * sizeof(float));
    store(tail, block);
  }
}

}  // namespace onecopy::kernels::avx2
