// Reference matmul for every weight type and row_tile. A segment of a row (at most 256 columns) is decoded once and
// multiplied with a batch of tokens; products are summed in float over a unit of 32 columns in eight lanes (four terms
// each) and in double over units, so that the relative error against float64 stays near 1e-7 of sum |w||x|, and the
// sum over shards does not depend on the cut (kernels.h, MatmulSumFn). Re-entrant.
#include <algorithm>

#include "kernels/pack/format.h"
#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {
namespace {

constexpr size_t kTokenBatch =
    64;  // double accumulators on the stack; decoding is cheap beside 64 dot products

// One unit or less.
inline double UnitDot(const float* w, const float* x, uint32_t n) {
  float lanes[8] = {};
  uint32_t c = 0;
  const auto add_eight = [&] {
    for (uint32_t i = 0; i < 8; ++i) lanes[i] += w[c + i] * x[c + i];
    c += 8;
  };
  if (n == kUnitCols) {  // nearly always; the compiler makes better code where it knows how often
    for (uint32_t i = 0; i < kUnitCols / 8; ++i) add_eight();
  } else {
    while (c + 8 <= n) add_eight();
  }
  double sum = 0;
  for (; c < n; ++c) sum += static_cast<double>(w[c]) * x[c];
  for (const float lane : lanes) sum += lane;
  return sum;
}

template <typename Y>
void MatmulRow(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens, uint32_t row) {
  double sums[kTokenBatch] = {};
  const uint32_t segments = SegmentCount(w);
  uint32_t col = 0;
  for (uint32_t s = 0; s < segments; ++s) {
    float weights[kSegmentCols];
    const uint32_t n = UnpackSegment(w, row, s, weights);
    for (size_t t = 0; t < n_tokens; ++t) {
      const float* in = static_cast<const float*>(x[t]) + col;
      for (uint32_t c = 0; c < n; c += kUnitCols)
        sums[t] += UnitDot(weights + c, in + c, std::min(kUnitCols, n - c));
    }
    col += n;
  }
  for (size_t t = 0; t < n_tokens; ++t) y[t][row] = static_cast<Y>(sums[t]);
}

template <typename Y>
void Matmul(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens, uint32_t row_begin,
            uint32_t row_end) {
  for (size_t t = 0; t < n_tokens; t += kTokenBatch) {
    const size_t batch = std::min(kTokenBatch, n_tokens - t);
    for (uint32_t row = row_begin; row < row_end; ++row) MatmulRow(w, x + t, y + t, batch, row);
  }
}

}  // namespace

void matmul(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens, uint32_t row_begin,
            uint32_t row_end) {
  Matmul(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                uint32_t row_begin, uint32_t row_end) {
  Matmul(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::ref
