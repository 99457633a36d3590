// Attention of the `ref` table over a float cache: one softmax update per head for all positions of the call
// (Milakov & Gimelshein 2018, algorithm 3). Dot products in double. Re-entrant.
#include <algorithm>
#include <cmath>

#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {

void attend_f32(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                const void* v, size_t v_dim, size_t v_stride, size_t n_pos, SoftmaxState* state, float* acc,
                float* scratch) {
  if (n_pos == 0) return;
  const auto* keys = static_cast<const float*>(k);
  const auto* values = static_cast<const float*>(v);
  for (size_t h = 0; h < n_heads; ++h, q += head_dim, acc += v_dim, scratch += n_pos) {
    for (size_t p = 0; p < n_pos; ++p) {
      double score = 0;
      for (size_t i = 0; i < head_dim; ++i) score += static_cast<double>(q[i]) * keys[p * k_stride + i];
      scratch[p] = static_cast<float>(score);
    }
    const float max = std::max(state[h].max, *std::max_element(scratch, scratch + n_pos));
    const float keep =
        std::exp(state[h].max - max);  // 0 at the first call, where the old maximum is -infinity
    for (size_t i = 0; i < v_dim; ++i) acc[i] *= keep;
    double sum = 0;
    for (size_t p = 0; p < n_pos; ++p) {
      const float weight = std::exp(scratch[p] - max);
      sum += weight;
      for (size_t i = 0; i < v_dim; ++i) acc[i] += weight * values[p * v_stride + i];
    }
    state[h] = {max, static_cast<float>(state[h].sum * keep + sum)};
  }
}

}  // namespace onecopy::kernels::ref
