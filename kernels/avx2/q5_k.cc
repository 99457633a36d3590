// Q5_K x Q8: as Q4_K, but products reach 2 * 31 * 127, of which four fit a 16-bit sum: two sums a unit.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

// Puts bit j of every byte of `bits` as bit 4 into w[j]. Shifts move bits between bytes of a dword; the mask
// drops them.
inline void AddBit4(__m256i bits, __m256i* w) {
  const __m256i bit4 = _mm256_set1_epi8(16);
  w[0] = _mm256_or_si256(w[0], _mm256_and_si256(_mm256_slli_epi32(bits, 4), bit4));
  w[1] = _mm256_or_si256(w[1], _mm256_and_si256(_mm256_slli_epi32(bits, 3), bit4));
  w[2] = _mm256_or_si256(w[2], _mm256_and_si256(_mm256_slli_epi32(bits, 2), bit4));
  w[3] = _mm256_or_si256(w[3], _mm256_and_si256(_mm256_slli_epi32(bits, 1), bit4));
  w[4] = _mm256_or_si256(w[4], _mm256_and_si256(bits, bit4));
  w[5] = _mm256_or_si256(w[5], _mm256_and_si256(_mm256_srli_epi32(bits, 1), bit4));
  w[6] = _mm256_or_si256(w[6], _mm256_and_si256(_mm256_srli_epi32(bits, 2), bit4));
  w[7] = _mm256_or_si256(w[7], _mm256_and_si256(_mm256_srli_epi32(bits, 3), bit4));
}

struct Q5K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 22 * kRowTile;

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
      AddBit4(LoadWeights(p + 18 * kRowTile), w);
      for (int t = 0; t < T; ++t) {
        const __m256i low = _mm256_madd_epi16(PairSums<4>(w, x[t].q + 32 * u), scales.scale);
        const __m256i high = _mm256_madd_epi16(PairSums<4>(w + 4, x[t].q + 32 * u + 16), scales.scale);
        const __m256 sum = _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
        products[t] = _mm256_fmadd_ps(sum, BroadcastF32(x[t].d + u), products[t]);
        mins[t] = _mm256_fmadd_ps(scales.min, _mm256_set1_ps(x[t].s0[u] + x[t].s1[u]), mins[t]);
      }
    }
    for (int t = 0; t < T; ++t) {
      acc[t] = _mm256_fnmadd_ps(dmin, mins[t], _mm256_fmadd_ps(d, products[t], acc[t]));
    }
  }
};

}  // namespace

void matmul_q5_k(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  MatmulQ8<Q5K>(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum_q5_k(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                     uint32_t row_begin, uint32_t row_end) {
  MatmulQ8<Q5K>(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::avx2
