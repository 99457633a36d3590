// Norm, rotation, activation and softmax of the `ref` table: libm functions, sums in double. Re-entrant.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {

void rms_norm(const float* x, const float* weight, float eps, size_t n, float* out) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  const auto scale = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(n) + eps));
  for (size_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

void rope_neox(float* x, const float* cos_sin, size_t half) {
  for (size_t i = 0; i < half; ++i) {
    const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
    const float a = x[i], b = x[i + half];
    x[i] = a * c - b * s;
    x[i + half] = b * c + a * s;
  }
}

void rope_pairwise(float* x, const float* cos_sin, size_t half) {
  for (size_t i = 0; i < half; ++i) {
    const float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * c - b * s;
    x[2 * i + 1] = b * c + a * s;
  }
}

void silu_mul(const float* gate, const float* up, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

void axpy(float a, const float* x, size_t n, float* y) {
  for (size_t i = 0; i < n; ++i) y[i] += a * x[i];
}

void accumulate(const double* x, size_t n, double* y) {
  for (size_t i = 0; i < n; ++i) y[i] += x[i];
}

void add_sums(const double* sums, size_t n, float* x) {
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>(x[i] + sums[i]);
}

void softmax(float* x, size_t n) {
  if (n == 0) return;
  const float max = *std::max_element(x, x + n);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    x[i] = std::exp(x[i] - max);
    sum += x[i];
  }
  const auto inverse = static_cast<float>(1.0 / sum);
  for (size_t i = 0; i < n; ++i) x[i] *= inverse;
}

void store_kv_f32(const float* x, size_t n, void* out) {
  std::memcpy(out, x, n * sizeof(float));
}

}  // namespace onecopy::kernels::ref
