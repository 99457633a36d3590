// The small matrix product that attention and transposed.cc share: 12 rows of floats with one panel of 32 columns, whose
// sums go over the depth in order, alone in their lane. So a row has the same bits in any tile.
#pragma once

#include "kernels/avx512/avx512.h"
#include "kernels/avx512/vec.h"

namespace onecopy::kernels::avx512 {
namespace {

constexpr size_t kPanel = 32;
constexpr size_t kRows = 12;  // with a panel of two vectors 24 of the 32 registers are sums

inline size_t PaddedColumns(size_t n) {
  return (n + kPanel - 1) / kPanel * kPanel;
}

// c[r] (+)= sum over k < depth of a[r][k] * panel[k], for R rows; c: rows c_stride floats apart.
template <size_t R>
void PanelProduct(const float* const* a, const float* panel, size_t depth, bool add, float* c,
                  size_t c_stride) {
  __m512 sum[R][2];  // without unrolling by name, g++ 12 carries them to the loop through memory
#pragma GCC unroll 12
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (size_t j = 0; j < 2; ++j)
      sum[r][j] = add ? _mm512_loadu_ps(c + r * c_stride + 16 * j) : _mm512_setzero_ps();
  }
  for (size_t k = 0; k < depth; ++k, panel += kPanel) {
    const __m512 first = _mm512_loadu_ps(panel), second = _mm512_loadu_ps(panel + 16);
#pragma GCC unroll 12
    for (size_t r = 0; r < R; ++r) {
      const __m512 x = BroadcastF32(a[r] + k);
      sum[r][0] = _mm512_fmadd_ps(x, first, sum[r][0]);
      sum[r][1] = _mm512_fmadd_ps(x, second, sum[r][1]);
    }
  }
#pragma GCC unroll 12
  for (size_t r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (size_t j = 0; j < 2; ++j) _mm512_storeu_ps(c + r * c_stride + 16 * j, sum[r][j]);
  }
}

void Product(const float* const* a, size_t rows, const float* panel, size_t depth, bool add, float* c,
             size_t c_stride) {
  if (rows == kRows) return PanelProduct<kRows>(a, panel, depth, add, c, c_stride);
  size_t r = 0;
  for (; r + 4 <= rows; r += 4) PanelProduct<4>(a + r, panel, depth, add, c + r * c_stride, c_stride);
  for (; r < rows; ++r) PanelProduct<1>(a + r, panel, depth, add, c + r * c_stride, c_stride);
}

}  // namespace
}  // namespace onecopy::kernels::avx512
