// Attention of the `ref` table over a cache of float or of q8_0: one softmax update per head for all positions of the call
// (Milakov & Gimelshein 2018, algorithm 3). Dot products in double. Re-entrant.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/ref.h"
#include "kernels/types/half.h"

namespace onecopy::kernels::ref {
namespace {

// Rows of a cache, element by element.
class F32Rows {
 public:
  F32Rows(const void* rows, size_t stride) : rows_(static_cast<const float*>(rows)), stride_(stride) {}
  float At(size_t row, size_t i) const { return rows_[row * stride_ + i]; }

 private:
  const float* rows_;
  size_t stride_;
};
class Q8Rows {
 public:
  Q8Rows(const void* rows, size_t stride)
      : rows_(static_cast<const uint8_t*>(rows)), row_bytes_(KvRowBytes(KvType::kQ8_0, stride)) {}
  float At(size_t row, size_t i) const {
    const uint8_t* block = rows_ + row * row_bytes_ + i / kQ8Block * kQ8BlockBytes;
    return LoadF16(block) * static_cast<float>(static_cast<int8_t>(block[2 + i % kQ8Block]));
  }

 private:
  const uint8_t* rows_;
  size_t row_bytes_;
};

template <class Rows>
void Attend(const float* q, size_t n_heads, size_t head_dim, const Rows& keys, const Rows& values,
            size_t v_dim, size_t n_pos, SoftmaxState* state, float* acc, float* scratch) {
  if (n_pos == 0) return;
  for (size_t h = 0; h < n_heads; ++h, q += head_dim, acc += v_dim, scratch += n_pos) {
    for (size_t p = 0; p < n_pos; ++p) {
      double score = 0;
      for (size_t i = 0; i < head_dim; ++i) score += static_cast<double>(q[i]) * keys.At(p, i);
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
      for (size_t i = 0; i < v_dim; ++i) acc[i] += weight * values.At(p, i);
    }
    state[h] = {max, static_cast<float>(state[h].sum * keep + sum)};
  }
}

// Token after token, page after page, with the function above.
template <class Rows>
void AttendBlocks(const AttendBlock& b) {
  auto* state = static_cast<SoftmaxState*>(b.scratch);
  auto* scores = reinterpret_cast<float*>(state + b.n_heads);
  for (size_t t = 0; t < b.n_tokens; ++t) {
    float* out = b.out + t * b.out_stride;
    std::fill_n(state, b.n_heads, SoftmaxState{-std::numeric_limits<float>::infinity(), 0.0f});
    std::fill_n(out, b.n_heads * b.v_dim, 0.0f);
    const size_t all = b.first_position + t + 1;
    const size_t seen = b.n_positions == 0 ? all : std::min(all, b.n_positions);
    for (size_t p = 0; p < seen; p += kKvPagePositions)
      Attend<Rows>(b.q + t * b.q_stride, b.n_heads, b.head_dim, {b.k_pages[p / kKvPagePositions], b.head_dim},
                   {b.v_pages[p / kKvPagePositions], b.v_stride}, b.v_dim,
                   std::min(kKvPagePositions, seen - p), state, out, scores);
    for (size_t h = 0; h < b.n_heads; ++h)
      for (size_t i = 0; i < b.v_dim; ++i) out[h * b.v_dim + i] /= state[h].sum;
    if (b.states != nullptr) std::copy_n(state, b.n_heads, b.states + t * b.n_heads);
  }
}

}  // namespace

void attend_f32(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* /*next_k*/,
                SoftmaxState* state, float* acc, float* scratch) {
  Attend<F32Rows>(q, n_heads, head_dim, {k, k_stride}, {v, v_stride}, v_dim, n_pos, state, acc, scratch);
}

void attend_q8_0(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                 const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* /*next_k*/,
                 SoftmaxState* state, float* acc, float* scratch) {
  Attend<Q8Rows>(q, n_heads, head_dim, {k, k_stride}, {v, v_stride}, v_dim, n_pos, state, acc, scratch);
}

void attend_block_f32(const AttendBlock& b) {
  AttendBlocks<F32Rows>(b);
}
void attend_block_q8_0(const AttendBlock& b) {
  AttendBlocks<Q8Rows>(b);
}

size_t attend_block_bytes(const AttendBlock& b) {
  return b.n_heads * (sizeof(SoftmaxState) + kKvPagePositions * sizeof(float));
}

}  // namespace onecopy::kernels::ref
