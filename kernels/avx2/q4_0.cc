// Q4_0 x Q8: as Q4_K with one scale per unit; the offset of 8 is taken off by way of the sums of the
// activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_panel.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q4_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kGroup = 8;

  struct Unit {
    __m256i w[8];
    __m256 d;
  };
  static void LoadUnit(const uint8_t* p, Unit* unit) {
    unit->d = LoadScales(p);
    DecodeNibbles(p + 2 * kRowTile, unit->w);
  }
  static __m256i Scale(const Unit&, size_t) { return _mm256_set1_epi16(1); }
  static void AddProducts(const Unit& unit, __m256i sum, const TokenScales& x, __m256* acc) {
    const __m256 offset = _mm256_mul_ps(_mm256_set1_ps(8.0f), x.s);
    const __m256 term = _mm256_fmsub_ps(_mm256_cvtepi32_ps(sum), x.d, offset);
    *acc = _mm256_fmadd_ps(unit.d, term, *acc);
  }

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    SegmentOfParts<Q4_0, T>(header, p, x, first_unit, n_units, acc);
  }
};

}  // namespace

void matmul_q4_0(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  MatmulParts<Q4_0>(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum_q4_0(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                     uint32_t row_begin, uint32_t row_end) {
  MatmulParts<Q4_0>(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::avx2
