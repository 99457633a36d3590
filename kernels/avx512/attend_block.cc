// Attention of a block of tokens over a cache of f16 or q8_0 (kernels.h, attend_block). A page's keys are turned into float panels
// of 32 positions, its values into panels of 32 columns; scores and weighted sums are then the same small matrix product,
// of 12 rows (a row is a token and head) with one panel, whose sums go over k in order, alone in their lane. So a row has
// the same bits in any tile.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/cache_rows.h"
#include "kernels/avx512/panel_product.h"
#include "kernels/avx512/softmax.h"
#include "kernels/avx512/transpose.h"
#include "kernels/seen.h"

namespace onecopy::kernels::avx512 {
namespace {

constexpr size_t kPage = kKvPagePositions;

// What the block's scratch holds.
struct Scratch {
  float* keys;    // [kPage / kPanel][head_dim][kPanel]
  float* values;  // [v_columns / kPanel][kPage][kPanel]
  float* acc;     // [rows][v_columns]
  float* sums;    // [rows][16]: of weights by lane, added up at the end
  float* max;     // [rows]
};

Scratch LayOut(const AttendBlock& b) {
  const size_t rows = b.n_tokens * b.n_heads, v_columns = PaddedColumns(b.v_dim);
  Scratch s;
  s.keys = static_cast<float*>(b.scratch);
  s.values = s.keys + kPage * b.head_dim;
  s.acc = s.values + kPage * v_columns;
  s.sums = s.acc + rows * v_columns;
  s.max = s.sums + rows * 16;
  return s;
}

// Positions from `count` on become zero: their memory may hold anything.
template <class Rows>
void ConvertKeys(const void* page, size_t head_dim, size_t count, float* keys) {
  const auto* k = static_cast<const uint8_t*>(page);
  const size_t row_bytes = Rows::Bytes(head_dim);
  for (size_t p = 0; p < kPage; p += 16) {
    float* panel = keys + p / kPanel * head_dim * kPanel + p % kPanel;
    for (size_t i = 0; i < head_dim; i += 16) {
      const size_t width = head_dim - i < 16 ? head_dim - i : 16;
      __m512 rows[16];
      for (size_t j = 0; j < 16; ++j)
        rows[j] = LoadPart<Rows>(k + (p + j) * row_bytes, i, p + j < count ? width : 0);
      Transpose16(rows);
      for (size_t j = 0; j < width; ++j) _mm512_storeu_ps(panel + (i + j) * kPanel, rows[j]);
    }
  }
}

template <class Rows>
void ConvertValues(const void* page, size_t v_dim, size_t v_stride, size_t count, float* values) {
  const auto* v = static_cast<const uint8_t*>(page);
  const size_t row_bytes = Rows::Bytes(v_stride);
  for (size_t i = 0; i < PaddedColumns(v_dim); i += 16) {
    float* panel = values + i / kPanel * kPage * kPanel + i % kPanel;
    const size_t width = i < v_dim ? v_dim - i : 0;
    for (size_t p = 0; p < kPage; ++p)
      _mm512_storeu_ps(panel + p * kPanel, LoadPart<Rows>(v + p * row_bytes, i, p < count ? width : 0));
  }
}

// Rows [begin, begin + rows) over a page of `first` and following positions.
void AddPage(const AttendBlock& b, const Scratch& s, size_t begin, size_t rows, size_t first) {
  const size_t v_columns = PaddedColumns(b.v_dim);
  const float *q[kRows], *weights[kRows];
  size_t unseen[kRows], seen[kRows];  // of this page the row sees [unseen, seen)
  alignas(64) float scores[kRows * kPage];
  for (size_t r = 0; r < rows; ++r) {
    const size_t t = (begin + r) / b.n_heads, h = (begin + r) % b.n_heads;
    q[r] = b.q + t * b.q_stride + h * b.head_dim;
    unseen[r] = InPage(SeenBegin(b, t), first);
    seen[r] = InPage(SeenEnd(b, t), first);
  }
  const size_t least = unseen[0] / kPanel * kPanel, most = seen[rows - 1];  // tokens ascend
  if (unseen[0] >= most) return;
  for (size_t r = 0; r < rows; ++r) weights[r] = scores + r * kPage + least;
  for (size_t p = least; p < most; p += kPanel)
    Product(q, rows, s.keys + p * b.head_dim, b.head_dim, false, scores + p, kPage);
  for (size_t r = 0; r < rows; ++r) {
    float* row = scores + r * kPage;
    size_t zeros = least;
    if (unseen[r] < seen[r]) {
      for (size_t p = least; p < unseen[r]; ++p) row[p] = -INFINITY;  // of weight 0
      __m512 sums = _mm512_loadu_ps(s.sums + (begin + r) * 16);
      UpdateSoftmax(row + least, seen[r] - least, s.max + begin + r, &sums, s.acc + (begin + r) * v_columns,
                    v_columns);
      _mm512_storeu_ps(s.sums + (begin + r) * 16, sums);
      zeros = (seen[r] + 15) / 16 * 16;
    }
    for (size_t p = zeros; p < most; p += 16) _mm512_storeu_ps(row + p, _mm512_setzero_ps());
  }
  for (size_t i = 0; i < v_columns; i += kPanel)
    Product(weights, rows, s.values + i * kPage + least * kPanel, most - least, true,
            s.acc + begin * v_columns + i, v_columns);
}

template <class Rows>
void AttendPages(const AttendBlock& b) {
  const Scratch s = LayOut(b);
  const size_t rows = b.n_tokens * b.n_heads, v_columns = PaddedColumns(b.v_dim);
  for (size_t i = 0; i < rows * v_columns; ++i) s.acc[i] = 0.0f;
  for (size_t i = 0; i < rows * 16; ++i) s.sums[i] = 0.0f;
  for (size_t r = 0; r < rows; ++r) s.max[r] = -INFINITY;

  const size_t end = SeenEnd(b, b.n_tokens - 1);
  for (size_t first = SeenBegin(b, 0) / kPage * kPage; first < end; first += kPage) {
    const size_t count = end - first < kPage ? end - first : kPage;
    ConvertKeys<Rows>(b.k_pages[first / kPage], b.head_dim, count, s.keys);
    ConvertValues<Rows>(b.v_pages[first / kPage], b.v_dim, b.v_stride, count, s.values);
    for (size_t r = 0; r < rows; r += kRows) AddPage(b, s, r, rows - r < kRows ? rows - r : kRows, first);
  }

  for (size_t r = 0; r < rows; ++r) {
    const float sum = _mm512_reduce_add_ps(_mm512_loadu_ps(s.sums + r * 16));
    float* out = b.out + r / b.n_heads * b.out_stride + r % b.n_heads * b.v_dim;
    for (size_t i = 0; i < b.v_dim; ++i) out[i] = s.acc[r * v_columns + i] / sum;
    if (b.states != nullptr) b.states[r] = {s.max[r], sum};
  }
}

}  // namespace

void attend_block_f16(const AttendBlock& b) {
  AttendPages<F16Rows>(b);
}
void attend_block_q8_0(const AttendBlock& b) {
  AttendPages<Q8Rows>(b);
}

size_t attend_block_bytes(const AttendBlock& b) {
  const size_t v_columns = PaddedColumns(b.v_dim);
  return (kPage * (b.head_dim + v_columns) + b.n_tokens * b.n_heads * (v_columns + 16 + 1)) * sizeof(float);
}

}  // namespace onecopy::kernels::avx512
