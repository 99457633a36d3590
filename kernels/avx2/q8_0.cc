// Q8_0 x Q8: maddubs wants one unsigned operand, so the weight's sign goes to the activation; one product of
// at most 2 * 128 * 127 fits 16 bits.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_panel.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q8_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 34 * kRowTile;

  // For many tokens the weights become int16: then the products of 32 columns take 16 multiplications and 16 additions,
  // against 8 each of sign, maddubs and madd, which compete for the same units, and 8 additions.
  static constexpr size_t kGroup = 0;
  struct Unit {
    __m256i w[16];  // columns 2j and 2j + 1 of every row
    __m256 d;
  };
  static void LoadUnit(const uint8_t* p, Unit* unit) {
    unit->d = LoadScales(p);
    for (size_t j = 0; j < 8; ++j) {
      const __m256i w = LoadWeights(p + 2 * kRowTile + 32 * j);
      // {w0 w1 w2 w3} of a row to {w0 w1} and {w2 w3}, each byte above a zero one, then back down with its sign.
      const __m256i first = _mm256_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1, 0,
                                             -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13);
      const __m256i last = _mm256_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1, 2,
                                            -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15);
      unit->w[2 * j] = _mm256_srai_epi16(_mm256_shuffle_epi8(w, first), 8);
      unit->w[2 * j + 1] = _mm256_srai_epi16(_mm256_shuffle_epi8(w, last), 8);
    }
  }
  static void AddProducts(const Unit& unit, __m256i sum, const TokenScales& x, __m256* acc) {
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    *acc = _mm256_fmadd_ps(unit.d, scaled, *acc);
  }

  template <int T>
  static void Segment(const uint8_t*, const uint8_t* p, const Q8Row* x, size_t first_unit, size_t n_units,
                      __m256* acc) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256 d = LoadScales(p);
      __m256i sum[T];
      for (int t = 0; t < T; ++t) sum[t] = _mm256_setzero_si256();
      for (size_t j = 0; j < 8; ++j) {
        const __m256i w = LoadWeights(p + 2 * kRowTile + 32 * j);
        const __m256i magnitude = _mm256_abs_epi8(w);
        for (int t = 0; t < T; ++t) {
          const __m256i q = _mm256_sign_epi8(Broadcast4(x[t].q + 32 * u + 4 * j), w);
          sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, q), ones));
        }
      }
      for (int t = 0; t < T; ++t) {
        const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[t]), BroadcastF32(x[t].d + u));
        acc[t] = _mm256_fmadd_ps(d, scaled, acc[t]);
      }
    }
  }
};

}  // namespace

void matmul_q8_0(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  MatmulParts<Q8_0>(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum_q8_0(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                     uint32_t row_begin, uint32_t row_end) {
  MatmulParts<Q8_0>(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::avx2
