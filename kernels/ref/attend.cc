// Attention of the `ref` table over a cache of float or of q8_0: one softmax update per head for all positions of the call
// (Milakov & Gimelshein 2018, algorithm 3). Dot products in double. Re-entrant.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/ref/ref.h"
#include "kernels/seen.h"
#include "kernels/types/half.h"

namespace onecopy::kernels::ref {
namespace {

// Rows of a cache, element by element.
class F32Rows {
 public:
  F32Rows(const void* rows, size_t stride) : rows_(static_cast<const float*>(rows)), stride_(stride) {}
  float At(size_t row, size_t i) const { return rows_[row * stride_ + i]; }
  F32Rows From(size_t row) const { return {rows_ + row * stride_, stride_}; }

 private:
  const float* rows_;
  size_t stride_;
};
class Q8Rows {
 public:
  Q8Rows(const void* rows, size_t stride)
      : rows_(static_cast<const uint8_t*>(rows)),
        stride_(stride),
        row_bytes_(KvRowBytes(KvType::kQ8_0, stride)) {}
  float At(size_t row, size_t i) const {
    const uint8_t* block = rows_ + row * row_bytes_ + i / kQ8Block * kQ8BlockBytes;
    return LoadF16(block) * static_cast<float>(static_cast<int8_t>(block[2 + i % kQ8Block]));
  }
  Q8Rows From(size_t row) const { return {rows_ + row * row_bytes_, stride_}; }

 private:
  const uint8_t* rows_;
  size_t stride_, row_bytes_;
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
    for (size_t p = SeenBegin(b, t), next; p < SeenEnd(b, t); p = next) {
      const size_t page = p / kKvPagePositions;
      next = std::min((page + 1) * kKvPagePositions, SeenEnd(b, t));
      const Rows keys(b.k_pages[page], b.head_dim), values(b.v_pages[page], b.v_stride);
      Attend<Rows>(b.q + t * b.q_stride, b.n_heads, b.head_dim, keys.From(p % kKvPagePositions),
                   values.From(p % kKvPagePositions), b.v_dim, next - p, state, out, scores);
    }
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
