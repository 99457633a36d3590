// The small matrix product that attention and transposed.cc share: 6 rows of floats with one panel of 16 columns, whose
// sums go over the depth in order, alone in their lane. So a row has the same bits in any tile.
#pragma once

#include "kernels/avx2/avx2.h"
#include "kernels/avx2/vec.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kPanel = 16;
constexpr size_t kRows = 6;  // with a panel of two vectors 12 sums, and all 16 registers in use

inline size_t PaddedColumns(size_t n) {
  return (n + kPanel - 1) / kPanel * kPanel;
}

// c[r] (+)= sum over k < depth of a[r][k] * panel[k], for R rows; c: rows c_stride floats apart.
template <size_t R>
void PanelProduct(const float* const* a, const float* panel, size_t depth, bool add, float* c,
                  size_t c_stride) {
  __m256 sum[R][2];
  for (size_t r = 0; r < R; ++r) {
    for (size_t j = 0; j < 2; ++j)
      sum[r][j] = add ? _mm256_loadu_ps(c + r * c_stride + 8 * j) : _mm256_setzero_ps();
  }
  for (size_t k = 0; k < depth; ++k, panel += kPanel) {
    const __m256 first = _mm256_loadu_ps(panel), second = _mm256_loadu_ps(panel + 8);
    for (size_t r = 0; r < R; ++r) {
      const __m256 x = BroadcastF32(a[r] + k);
      sum[r][0] = _mm256_fmadd_ps(x, first, sum[r][0]);
      sum[r][1] = _mm256_fmadd_ps(x, second, sum[r][1]);
    }
  }
  for (size_t r = 0; r < R; ++r) {
    for (size_t j = 0; j < 2; ++j) _mm256_storeu_ps(c + r * c_stride + 8 * j, sum[r][j]);
  }
}

void Product(const float* const* a, size_t rows, const float* panel, size_t depth, bool add, float* c,
             size_t c_stride) {
  if (rows == kRows) return PanelProduct<kRows>(a, panel, depth, add, c, c_stride);
  for (size_t r = 0; r < rows; ++r) PanelProduct<1>(a + r, panel, depth, add, c + r * c_stride, c_stride);
}

}  // namespace
}  // namespace onecopy::kernels::avx2
