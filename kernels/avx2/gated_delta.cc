// The gated delta rule for 32 values of a head: four vectors a row of the state, which stays in the first cache while the
// tokens go by. Even and odd rows have sums of their own, so that additions need not wait for each other.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/vec.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kVectors = kDeltaValues / 8;

inline void ReadRow(const float* row, float k, __m256* sums) {
  const __m256 key = _mm256_set1_ps(k);
  for (size_t j = 0; j < kVectors; ++j) sums[j] = _mm256_fmadd_ps(key, _mm256_loadu_ps(row + 8 * j), sums[j]);
}

inline void UpdateRow(float* row, float k, float q, __m256 decay, const __m256* delta, __m256* sums) {
  const __m256 key = _mm256_set1_ps(k), query = _mm256_set1_ps(q);
  for (size_t j = 0; j < kVectors; ++j) {
    const __m256 written = _mm256_mul_ps(key, delta[j]);
    const __m256 updated = _mm256_fmadd_ps(_mm256_loadu_ps(row + 8 * j), decay, written);
    _mm256_storeu_ps(row + 8 * j, updated);
    sums[j] = _mm256_fmadd_ps(query, updated, sums[j]);
  }
}

}  // namespace

void gated_delta(const GatedDelta& run) {
  const size_t even = run.key_dim / 2 * 2;
  for (size_t t = 0; t < run.n_tokens; ++t) {
    const float* q = run.q + t * run.qk_stride;
    const float* k = run.k + t * run.qk_stride;
    const float* v = run.v + t * run.v_stride;
    float* out = run.out + t * run.out_stride;
    const __m256 decay = BroadcastF32(run.decay + t * run.gate_stride);
    const __m256 beta = BroadcastF32(run.beta + t * run.gate_stride);
    __m256 sums[2][kVectors], delta[kVectors];
    for (size_t j = 0; j < kVectors; ++j) sums[0][j] = sums[1][j] = _mm256_setzero_ps();
    for (size_t i = 0; i < even; i += 2) {
      ReadRow(run.state + i * kDeltaValues, k[i], sums[0]);
      ReadRow(run.state + (i + 1) * kDeltaValues, k[i + 1], sums[1]);
    }
    if (even < run.key_dim) ReadRow(run.state + even * kDeltaValues, k[even], sums[0]);
    for (size_t j = 0; j < kVectors; ++j) {
      const __m256 read = _mm256_mul_ps(decay, _mm256_add_ps(sums[0][j], sums[1][j]));
      delta[j] = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(v + 8 * j), read), beta);
      sums[0][j] = sums[1][j] = _mm256_setzero_ps();
    }
    for (size_t i = 0; i < even; i += 2) {
      UpdateRow(run.state + i * kDeltaValues, k[i], q[i], decay, delta, sums[0]);
      UpdateRow(run.state + (i + 1) * kDeltaValues, k[i + 1], q[i + 1], decay, delta, sums[1]);
    }
    if (even < run.key_dim)
      UpdateRow(run.state + even * kDeltaValues, k[even], q[even], decay, delta, sums[0]);
    for (size_t j = 0; j < kVectors; ++j)
      _mm256_storeu_ps(out + 8 * j, _mm256_add_ps(sums[0][j], sums[1][j]));
  }
}

}  // namespace onecopy::kernels::avx2
