// Q5_K x Q8: as Q4_K, but products reach 2 * 31 * 127, of which four fit a 16-bit sum: two sums a unit.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_panel.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q5K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 22 * kRowTile;
  static constexpr size_t kGroup = 4;

  struct Header {
    __m256 d, dmin;
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p), LoadScales(p + 2 * kRowTile)}; }
  using Scales = UnitScales;
  static Scales ScalesAt(const uint8_t* p) { return LoadUnitScales(p); }
  // Bit j of every byte becomes bit 4. The shift moves bits between bytes of a dword; the mask drops them.
  static __m256i Weights(const uint8_t* p, size_t j) {
    const int left = 4 - static_cast<int>(j);
    const __m256i bits = LoadWeights(p + 18 * kRowTile);
    const __m256i bit4 = left >= 0 ? _mm256_slli_epi32(bits, left) : _mm256_srli_epi32(bits, -left);
    return _mm256_or_si256(Nibbles(p + 2 * kRowTile, j), _mm256_and_si256(bit4, _mm256_set1_epi8(16)));
  }
  static __m256i Scale(const Scales& scales, size_t) { return scales.scale; }
  static void AddProducts(const Scales&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Scales& scales, const TokenScales& x, __m256* mins) {
    *mins = _mm256_fmadd_ps(scales.min, x.s, *mins);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 mins, __m256 acc) {
    return _mm256_fnmadd_ps(header.dmin, mins, _mm256_fmadd_ps(header.d, products, acc));
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
