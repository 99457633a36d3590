// Q5_K x Q8: as Q4_K, but products reach 2 * 31 * 127, of which four fit a 16-bit sum: two sums a unit.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_panel.h"

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
  static constexpr size_t kGroup = 4;

  struct Header {
    __m256 d, dmin;
  };
  struct Unit {
    __m256i w[8];
    UnitScales scales;
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p), LoadScales(p + 2 * kRowTile)}; }
  static void LoadUnit(const uint8_t* p, Unit* unit) {
    unit->scales = LoadUnitScales(p);
    DecodeNibbles(p + 2 * kRowTile, unit->w);
    AddBit4(LoadWeights(p + 18 * kRowTile), unit->w);
  }
  static __m256i Scale(const Unit& unit, size_t) { return unit.scales.scale; }
  static void AddProducts(const Unit&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Unit& unit, const TokenScales& x, __m256* mins) {
    *mins = _mm256_fmadd_ps(unit.scales.min, x.s, *mins);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 mins, __m256 acc) {
    return _mm256_fnmadd_ps(header.dmin, mins, _mm256_fmadd_ps(header.d, products, acc));
  }

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    SegmentOfParts<Q5K, T>(header, p, x, first_unit, n_units, acc);
  }
};

}  // namespace

void matmul_q5_k(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  MatmulParts<Q5K>(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum_q5_k(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                     uint32_t row_begin, uint32_t row_end) {
  MatmulParts<Q5K>(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::avx2
