// Attention of one token over a cache of f16 or q8_0 (kernels.h, attend), as avx2/attend.cc: sixteen scores at a time, of up to
// eight query heads that share the conversion of a key; one softmax update per head; then tiles of heads x columns of
// the weighted sum of the values. Decode reads the cache once, from memory: all along the way the rows of the next block
// are prefetched, a line at a time, as a burst would wait for the few buffers that a core has for lines on their way.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/cache_rows.h"
#include "kernels/avx512/softmax.h"

namespace onecopy::kernels::avx512 {
namespace {

// Positions whose keys, then values, stay in the first-level cache while all
// heads use them (128 heads in MLA).
constexpr size_t kBlock = 32;

// The sum of the lanes of each of sixteen vectors, in lane order; every sum
// takes the same order.
inline __m512 SumLanes16(const __m512* v) {
  __m512 a[8], b[4], c[2];
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i)
    a[i] = _mm512_add_ps(_mm512_shuffle_ps(v[2 * i], v[2 * i + 1], 0x88),
                         _mm512_shuffle_ps(v[2 * i], v[2 * i + 1], 0xdd));
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i)
    b[i] = _mm512_add_ps(_mm512_shuffle_ps(a[2 * i], a[2 * i + 1], 0x88),
                         _mm512_shuffle_ps(a[2 * i], a[2 * i + 1], 0xdd));
#pragma GCC unroll 2
  for (size_t i = 0; i < 2; ++i)
    c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88),
                         _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xdd));
}

// Rows of the cache, some bytes apart; first == nullptr: none.
struct RowSpan {
  const uint8_t* first;
  size_t row_bytes;
  const uint8_t* Row(size_t row) const { return first + row * row_bytes; }
  RowSpan From(size_t row) const { return {first == nullptr ? nullptr : Row(row), row_bytes}; }
};
// Rows that come next: the line of the block that begins with that column.
template <class Rows>
inline void Prefetch(const RowSpan& ahead, size_t row, size_t column) {
  if (ahead.first != nullptr)
    _mm_prefetch(reinterpret_cast<const char*>(ahead.Row(row) + Rows::Bytes(column)), _MM_HINT_T0);
}

// acc[h][p] += q[h] . k[p] over a block of columns from `begin` on: H heads, P positions.
template <class Rows, size_t H, size_t P, bool kWhole>
inline void ScoreColumns(const float* q, size_t head_dim, size_t begin, const uint8_t* const* keys,
                         const RowSpan& ahead, __m512* acc) {
  typename Rows::Scale scales[P];
#pragma GCC unroll 16
  for (size_t p = 0; p < P; ++p) {
    scales[p] = Rows::ScaleAt(keys[p], begin);
    Prefetch<Rows>(ahead, p, begin);
  }
#pragma GCC unroll 2
  for (size_t i = begin; i < begin + kRowBlock; i += 16) {
    if (!kWhole && i >= head_dim) break;
    const __mmask16 mask = kWhole ? static_cast<__mmask16>(0xffff) : TailMask(head_dim - i);
    __m512 query[H];
#pragma GCC unroll 16
    for (size_t h = 0; h < H; ++h) query[h] = _mm512_maskz_loadu_ps(mask, q + h * head_dim + i);
#pragma GCC unroll 16
    for (size_t p = 0; p < P; ++p) {
      const __m512 key = Rows::Load(keys[p], i, scales[p], mask);
#pragma GCC unroll 16
      for (size_t h = 0; h < H; ++h) acc[h * P + p] = _mm512_fmadd_ps(query[h], key, acc[h * P + p]);
    }
  }
}

// scores[h][p] = q[h] . k[p] for H heads and 16 / H positions, of which `count` are there.
template <class Rows, size_t H>
void ScoreTile(const float* q, size_t head_dim, const RowSpan& k, const RowSpan& ahead, size_t count,
               float* scores, size_t n_pos) {
  constexpr size_t P = 16 / H;
  const uint8_t* keys[P];
  for (size_t p = 0; p < P; ++p) keys[p] = k.Row(p < count ? p : count - 1);
  __m512 acc[16];
#pragma GCC unroll 16
  for (size_t j = 0; j < 16; ++j) acc[j] = _mm512_setzero_ps();
  size_t i = 0;
  for (; i + kRowBlock <= head_dim; i += kRowBlock)
    ScoreColumns<Rows, H, P, true>(q, head_dim, i, keys, ahead, acc);
  if (i < head_dim) ScoreColumns<Rows, H, P, false>(q, head_dim, i, keys, ahead, acc);
  alignas(64) float sums[16];
  _mm512_store_ps(sums, SumLanes16(acc));
  if (count >= P) {
#pragma GCC unroll 16
    for (size_t j = 0; j < 16; ++j) scores[j / P * n_pos + j % P] = sums[j];
    return;
  }
  for (size_t h = 0; h < H; ++h) {
    for (size_t p = 0; p < count; ++p) scores[h * n_pos + p] = sums[h * P + p];
  }
}

template <class Rows, size_t H>
void ScoreBlock(const float* q, size_t head_dim, const RowSpan& k, const RowSpan& ahead, size_t count,
                float* scores, size_t n_pos) {
  for (size_t p = 0; p < count; p += 16 / H)
    ScoreTile<Rows, H>(q, head_dim, k.From(p), ahead.From(p), count - p, scores + p, n_pos);
}

// acc[h][0 …] += sum over p of weights[h][p] * v[p][begin …] for H heads and C vectors, the last with `mask`.
template <class Rows, size_t H, size_t C>
void ValueTile(const float* weights, size_t n_pos, const RowSpan& v, size_t begin, const RowSpan& ahead,
               size_t count, __mmask16 mask, float* acc, size_t v_dim) {
  __m512 sums[H][C];  // without unrolling by name, g++ 12 may carry them through memory
  const auto mask_of = [mask](size_t c) { return c + 1 == C ? mask : static_cast<__mmask16>(0xffff); };
#pragma GCC unroll 8
  for (size_t h = 0; h < H; ++h) {
#pragma GCC unroll 4
    for (size_t c = 0; c < C; ++c) sums[h][c] = _mm512_maskz_loadu_ps(mask_of(c), acc + h * v_dim + 16 * c);
  }
  const size_t block = begin / kRowBlock * kRowBlock;
  for (size_t p = 0; p < count; ++p) {
    const uint8_t* row = v.Row(p);
    __m512 values[C];
#pragma GCC unroll 4
    for (size_t c = 0; c < C; ++c) {
      if (c % 2 == 0) Prefetch<Rows>(ahead, p, block + 16 * c);
      values[c] = Rows::Load(row, begin + 16 * c, Rows::ScaleAt(row, block + c / 2 * kRowBlock), mask_of(c));
    }
#pragma GCC unroll 8
    for (size_t h = 0; h < H; ++h) {
      const __m512 weight = BroadcastF32(weights + h * n_pos + p);
#pragma GCC unroll 4
      for (size_t c = 0; c < C; ++c) sums[h][c] = _mm512_fmadd_ps(weight, values[c], sums[h][c]);
    }
  }
#pragma GCC unroll 8
  for (size_t h = 0; h < H; ++h) {
#pragma GCC unroll 4
    for (size_t c = 0; c < C; ++c) _mm512_mask_storeu_ps(acc + h * v_dim + 16 * c, mask_of(c), sums[h][c]);
  }
}

template <class Rows, size_t H>
void ValueBlock(const float* weights, size_t n_pos, const RowSpan& v, size_t v_dim, const RowSpan& ahead,
                size_t count, float* acc) {
  constexpr size_t C = H == 8 ? 2 : 4;
  size_t i = 0;
  for (; i + 16 * C <= v_dim; i += 16 * C)
    ValueTile<Rows, H, C>(weights, n_pos, v, i, ahead, count, 0xffff, acc + i, v_dim);
  for (; i < v_dim; i += 16)
    ValueTile<Rows, H, 1>(weights, n_pos, v, i, ahead, count, TailMask(v_dim - i), acc + i, v_dim);
}

// work.Run<H>(first head, what to prefetch) over all heads, in tiles of eight, four, two and one; the first prefetches.
template <class Work>
inline void ForHeads(size_t n_heads, const RowSpan& ahead, const Work& work) {
  size_t h = 0;
  const auto once = [&] { return h == 0 ? ahead : RowSpan{nullptr, 0}; };
  for (; h + 8 <= n_heads; h += 8) work.template Run<8>(h, once());
  for (; h + 4 <= n_heads; h += 4) work.template Run<4>(h, once());
  for (; h + 2 <= n_heads; h += 2) work.template Run<2>(h, once());
  if (h < n_heads) work.template Run<1>(h, once());
}

template <class Rows>
struct ScoreWork {
  const float* q;
  size_t head_dim;
  RowSpan k;
  size_t count;
  float* scores;
  size_t n_pos;
  template <size_t H>
  void Run(size_t h, const RowSpan& ahead) const {
    ScoreBlock<Rows, H>(q + h * head_dim, head_dim, k, ahead, count, scores + h * n_pos, n_pos);
  }
};

template <class Rows>
struct ValueWork {
  const float* weights;
  size_t n_pos;
  RowSpan v;
  size_t v_dim, count;
  float* acc;
  template <size_t H>
  void Run(size_t h, const RowSpan& ahead) const {
    ValueBlock<Rows, H>(weights + h * n_pos, n_pos, v, v_dim, ahead, count, acc + h * v_dim);
  }
};

// Moves one head's state to the new maximum: scores become weights, acc is rescaled.
void UpdateHead(float* scores, size_t n_pos, SoftmaxState* state, float* acc, size_t v_dim) {
  const __m512 low = _mm512_set1_ps(-INFINITY);
  __m512 largest = low, sum = _mm512_setzero_ps();
  for (size_t i = 0; i < n_pos; i += 16)
    largest = _mm512_max_ps(largest, _mm512_mask_loadu_ps(low, TailMask(n_pos - i), scores + i));
  const float top = _mm512_reduce_max_ps(largest);
  if (top > state->max) {
    const float keep = expf(state->max - top);  // 0 at the first call, where the old maximum is -infinity
    for (size_t i = 0; i < v_dim; ++i) acc[i] *= keep;
    state->sum *= keep;
    state->max = top;
  }
  const __m512 shift = _mm512_set1_ps(state->max);
  for (size_t i = 0; i < n_pos; i += 16) {
    const __mmask16 mask = TailMask(n_pos - i);
    const __m512 weights =
        _mm512_maskz_mov_ps(mask, Exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, scores + i), shift)));
    _mm512_mask_storeu_ps(scores + i, mask, weights);
    sum = _mm512_add_ps(sum, weights);
  }
  state->sum += _mm512_reduce_add_ps(sum);
}

template <class Rows>
void Attend(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride, const void* v,
            size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k, SoftmaxState* state, float* acc,
            float* scratch) {
  if (n_pos == 0) return;
  const RowSpan keys = {static_cast<const uint8_t*>(k), Rows::Bytes(k_stride)};
  const RowSpan values = {static_cast<const uint8_t*>(v), Rows::Bytes(v_stride)};
  const RowSpan next = {static_cast<const uint8_t*>(next_k), keys.row_bytes};
  const auto size_of = [n_pos](size_t begin) { return n_pos - begin < kBlock ? n_pos - begin : kBlock; };
  for (size_t begin = 0; begin < n_pos; begin += kBlock) {
    const size_t end = begin + kBlock;
    const RowSpan ahead = end + kBlock <= n_pos ? keys.From(end) : values;
    ForHeads(n_heads, ahead,
             ScoreWork<Rows>{q, head_dim, keys.From(begin), size_of(begin), scratch + begin, n_pos});
  }
  for (size_t h = 0; h < n_heads; ++h)
    UpdateHead(scratch + h * n_pos, n_pos, state + h, acc + h * v_dim, v_dim);
  for (size_t begin = 0; begin < n_pos; begin += kBlock) {
    const size_t end = begin + kBlock;
    const RowSpan ahead = end + kBlock <= n_pos ? values.From(end) : next;
    ForHeads(n_heads, ahead,
             ValueWork<Rows>{scratch + begin, n_pos, values.From(begin), v_dim, size_of(begin), acc});
  }
}

}  // namespace

void attend_f16(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                SoftmaxState* state, float* acc, float* scratch) {
  Attend<F16Rows>(q, n_heads, head_dim, k, k_stride, v, v_dim, v_stride, n_pos, next_k, state, acc, scratch);
}

void attend_q8_0(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                 const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                 SoftmaxState* state, float* acc, float* scratch) {
  Attend<Q8Rows>(q, n_heads, head_dim, k, k_stride, v, v_dim, v_stride, n_pos, next_k, state, acc, scratch);
}

}  // namespace onecopy::kernels::avx512
