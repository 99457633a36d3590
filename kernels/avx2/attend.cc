// Attention over a cache of f16 or q8_0 (kernels.h, attend): scores of all positions, one softmax update per head
// (Milakov & Gimelshein 2018), then the weighted sum of the values. Query heads share the conversion of each
// key and value to float: tiles of 4 heads x 2 positions for the scores, 4 heads x 16 columns for the values.
// Positions go in blocks, so that their rows stay in the first-level cache while all heads use them (128
// heads in MLA).
#include <math.h>

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/cache_rows.h"
#include "kernels/avx2/vec.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kHeads = 4;
constexpr size_t kKeyBlock = 16;
constexpr size_t kValueBlock = 32;

// scores[h][p] = q[h] . k[p] for H heads and P positions. The sum of a pair takes the same order in any tile.
template <class Rows, size_t H, size_t P>
void ScoreTile(const float* q, size_t head_dim, const uint8_t* k, size_t row_bytes, float* scores,
               size_t n_pos) {
  __m256 acc[H * P];
  for (auto& sum : acc) sum = _mm256_setzero_ps();
  typename Rows::Scale scales[P];
  const auto find_scales = [&](size_t block) {
    for (size_t p = 0; p < P; ++p) scales[p] = Rows::ScaleAt(k + p * row_bytes, block);
  };
  const auto add = [&](size_t i) {
    __m256 keys[P];
    for (size_t p = 0; p < P; ++p) keys[p] = Rows::Load(k + p * row_bytes, i, scales[p]);
    for (size_t h = 0; h < H; ++h) {
      const __m256 query = _mm256_loadu_ps(q + h * head_dim + i);
      for (size_t p = 0; p < P; ++p) acc[h * P + p] = _mm256_fmadd_ps(query, keys[p], acc[h * P + p]);
    }
  };
  size_t i = 0;
  for (; i + kRowBlock <= head_dim; i += kRowBlock) {
    find_scales(i);
    for (size_t j = 0; j < kRowBlock; j += 8) add(i + j);
  }
  if (i < head_dim) {
    find_scales(i);
    for (; i + 8 <= head_dim; i += 8) add(i);
    const size_t n = head_dim - i;
    for (size_t p = 0; p < P && n > 0; ++p) {
      const __m256 keys = Rows::LoadTail(k + p * row_bytes, i, scales[p], n);
      for (size_t h = 0; h < H; ++h) {
        const __m256 query = _mm256_maskload_ps(q + h * head_dim + i, TailMask(n));
        acc[h * P + p] = _mm256_fmadd_ps(query, keys, acc[h * P + p]);
      }
    }
  }
  float sums[H * P];
  if constexpr (H * P == 8) {
    _mm256_storeu_ps(sums, SumLanes8(acc));
  } else {
    for (size_t j = 0; j < H * P; ++j) sums[j] = SumLanes(acc[j]);
  }
  for (size_t h = 0; h < H; ++h) {
    for (size_t p = 0; p < P; ++p) scores[h * n_pos + p] = sums[h * P + p];
  }
}

template <class Rows, size_t H>
void ScoreBlock(const float* q, size_t head_dim, const uint8_t* k, size_t row_bytes, float* scores,
                size_t n_pos, size_t count) {
  size_t p = 0;
  for (; p + 2 <= count; p += 2)
    ScoreTile<Rows, H, 2>(q, head_dim, k + p * row_bytes, row_bytes, scores + p, n_pos);
  if (p < count) ScoreTile<Rows, H, 1>(q, head_dim, k + p * row_bytes, row_bytes, scores + p, n_pos);
}

template <class Rows>
void Scores(const float* q, size_t n_heads, size_t head_dim, const uint8_t* k, size_t row_bytes, size_t n_pos,
            float* scores) {
  for (size_t begin = 0; begin < n_pos; begin += kKeyBlock) {
    const size_t count = n_pos - begin < kKeyBlock ? n_pos - begin : kKeyBlock;
    const uint8_t* keys = k + begin * row_bytes;
    size_t h = 0;
    for (; h + kHeads <= n_heads; h += kHeads) {
      ScoreBlock<Rows, kHeads>(q + h * head_dim, head_dim, keys, row_bytes, scores + h * n_pos + begin, n_pos,
                               count);
    }
    for (; h < n_heads; ++h) {
      ScoreBlock<Rows, 1>(q + h * head_dim, head_dim, keys, row_bytes, scores + h * n_pos + begin, n_pos,
                          count);
    }
  }
}

// acc[h][0..width) += sum over p of weights[h][p] * v[p][begin..begin + width) for H heads; width is C full vectors, or
// below 8.
template <class Rows, size_t H, size_t C>
void ValueTile(const float* weights, size_t n_pos, const uint8_t* v, size_t row_bytes, size_t begin,
               size_t count, size_t width, float* acc, size_t v_dim) {
  const bool full = width >= 8;
  const __m256i mask = TailMask(width);
  __m256 sums[H][C];
  for (size_t h = 0; h < H; ++h) {
    for (size_t c = 0; c < C; ++c) sums[h][c] = _mm256_maskload_ps(acc + h * v_dim + 8 * c, mask);
  }
  const size_t block = begin / kRowBlock * kRowBlock;  // C vectors are in one
  for (size_t p = 0; p < count; ++p, v += row_bytes) {
    const typename Rows::Scale scale = Rows::ScaleAt(v, block);
    __m256 values[C];
    for (size_t c = 0; c < C; ++c)
      values[c] = full ? Rows::Load(v, begin + 8 * c, scale) : Rows::LoadTail(v, begin, scale, width);
    for (size_t h = 0; h < H; ++h) {
      const __m256 weight = BroadcastF32(weights + h * n_pos + p);
      for (size_t c = 0; c < C; ++c) sums[h][c] = _mm256_fmadd_ps(weight, values[c], sums[h][c]);
    }
  }
  for (size_t h = 0; h < H; ++h) {
    for (size_t c = 0; c < C; ++c) _mm256_maskstore_ps(acc + h * v_dim + 8 * c, mask, sums[h][c]);
  }
}

template <class Rows, size_t H>
void ValueBlock(const float* weights, size_t n_pos, const uint8_t* v, size_t row_bytes, size_t count,
                float* acc, size_t v_dim) {
  size_t i = 0;
  for (; i + 16 <= v_dim; i += 16)
    ValueTile<Rows, H, 2>(weights, n_pos, v, row_bytes, i, count, 16, acc + i, v_dim);
  for (; i < v_dim; i += 8) {
    const size_t width = v_dim - i < 8 ? v_dim - i : 8;
    ValueTile<Rows, H, 1>(weights, n_pos, v, row_bytes, i, count, width, acc + i, v_dim);
  }
}

template <class Rows>
void AddValues(const float* weights, size_t n_heads, const uint8_t* v, size_t v_dim, size_t row_bytes,
               size_t n_pos, float* acc) {
  for (size_t begin = 0; begin < n_pos; begin += kValueBlock) {
    const size_t count = n_pos - begin < kValueBlock ? n_pos - begin : kValueBlock;
    const uint8_t* values = v + begin * row_bytes;
    size_t h = 0;
    for (; h + kHeads <= n_heads; h += kHeads) {
      ValueBlock<Rows, kHeads>(weights + h * n_pos + begin, n_pos, values, row_bytes, count, acc + h * v_dim,
                               v_dim);
    }
    for (; h < n_heads; ++h) {
      ValueBlock<Rows, 1>(weights + h * n_pos + begin, n_pos, values, row_bytes, count, acc + h * v_dim,
                          v_dim);
    }
  }
}

// Moves one head's state to the new maximum: scores become weights, acc is rescaled.
void UpdateSoftmax(float* scores, size_t n_pos, SoftmaxState* state, float* acc, size_t v_dim) {
  const float largest = MaxOf(scores, n_pos);
  const float max = largest > state->max ? largest : state->max;
  const float keep = expf(state->max - max);  // 0 at the first call, where the old maximum is -infinity
  if (keep != 1.0f) {
    for (size_t i = 0; i < v_dim; ++i) acc[i] *= keep;
  }
  state->sum = state->sum * keep + ExpInPlace(scores, n_pos, max);
  state->max = max;
}

template <class Rows>
void Attend(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride, const void* v,
            size_t v_dim, size_t v_stride, size_t n_pos, SoftmaxState* state, float* acc, float* scratch) {
  if (n_pos == 0) return;
  Scores<Rows>(q, n_heads, head_dim, static_cast<const uint8_t*>(k), Rows::Bytes(k_stride), n_pos, scratch);
  for (size_t h = 0; h < n_heads; ++h)
    UpdateSoftmax(scratch + h * n_pos, n_pos, state + h, acc + h * v_dim, v_dim);
  AddValues<Rows>(scratch, n_heads, static_cast<const uint8_t*>(v), v_dim, Rows::Bytes(v_stride), n_pos, acc);
}

}  // namespace

void attend_f16(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* /*next_k*/,
                SoftmaxState* state, float* acc, float* scratch) {
  Attend<F16Rows>(q, n_heads, head_dim, k, k_stride, v, v_dim, v_stride, n_pos, state, acc, scratch);
}

void attend_q8_0(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                 const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* /*next_k*/,
                 SoftmaxState* state, float* acc, float* scratch) {
  Attend<Q8Rows>(q, n_heads, head_dim, k, k_stride, v, v_dim, v_stride, n_pos, state, acc, scratch);
}

}  // namespace onecopy::kernels::avx2
