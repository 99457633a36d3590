// Q4_K x Q8: a unit's eight products of at most 2 * 15 * 127 fit one 16-bit sum, which meets the 6-bit scale
// in madd; d and dmin are applied once per source block.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q4K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 18 * kRowTile;

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    const __m256 d = LoadScales(header), dmin = LoadScales(header + 2 * kRowTile);
    __m256 products[T], mins[T];
    for (int t = 0; t < T; ++t) products[t] = mins[t] = _mm256_setzero_ps();
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const UnitScales scales = LoadUnitScales(p);
      __m256i w[8];
      DecodeNibbles(p + 2 * kRowTile, w);
      for (int t = 0; t < T; ++t) {
        const __m256i sum = _mm256_madd_epi16(PairSums<8>(w, x[t].q + 32 * u), scales.scale);
        products[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), BroadcastF32(x[t].d + u), products[t]);
        mins[t] = _mm256_fmadd_ps(scales.min, _mm256_set1_ps(x[t].s0[u] + x[t].s1[u]), mins[t]);
      }
    }
    for (int t = 0; t < T; ++t) {
      acc[t] = _mm256_fnmadd_ps(dmin, mins[t], _mm256_fmadd_ps(d, products[t], acc[t]));
    }
  }
};

}  // namespace

void matmul_q4_k(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  MatmulQ8<Q4K>(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum_q4_k(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                     uint32_t row_begin, uint32_t row_end) {
  MatmulQ8<Q4K>(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::avx2
