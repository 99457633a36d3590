// Reference matmul for every weight type and row_tile. A segment of a row (at most 256 columns) is decoded
// once and multiplied with a batch of tokens; products are summed in float over a segment in eight lanes (at
// most 32 terms each) and in double over segments, so that the relative error against float64 stays near 1e-7
// of sum |w||x|. Re-entrant.
#include <algorithm>

#include "kernels/pack/format.h"
#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {
namespace {

constexpr size_t kTokenBatch =
    64;  // double accumulators on the stack; decoding is cheap beside 64 dot products

double Dot(const float* w, const float* x, uint32_t n) {
  float lanes[8] = {};
  uint32_t c = 0;
  for (; c + 8 <= n; c += 8) {
    for (uint32_t i = 0; i < 8; ++i) lanes[i] += w[c + i] * x[c + i];
  }
  double sum = 0;
  for (; c < n; ++c) sum += static_cast<double>(w[c]) * x[c];
  for (const float lane : lanes) sum += lane;
  return sum;
}

void MatmulRow(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens, uint32_t row) {
  double sums[kTokenBatch] = {};
  const uint32_t segments = SegmentCount(w);
  uint32_t col = 0;
  for (uint32_t s = 0; s < segments; ++s) {
    float weights[kSegmentCols];
    const uint32_t n = UnpackSegment(w, row, s, weights);
    for (size_t t = 0; t < n_tokens; ++t) sums[t] += Dot(weights, static_cast<const float*>(x[t]) + col, n);
    col += n;
  }
  for (size_t t = 0; t < n_tokens; ++t) y[t][row] = static_cast<float>(sums[t]);
}

}  // namespace

void matmul(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens, uint32_t row_begin,
            uint32_t row_end) {
  for (size_t t = 0; t < n_tokens; t += kTokenBatch) {
    const size_t batch = std::min(kTokenBatch, n_tokens - t);
    for (uint32_t row = row_begin; row < row_end; ++row) MatmulRow(w, x + t, y + t, batch, row);
  }
}

}  // namespace onecopy::kernels::ref
