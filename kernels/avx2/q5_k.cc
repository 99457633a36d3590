// Q5_K x Q8: as Q4_K, but products reach 2 * 31 * 127, of which four fit a 16-bit sum: two sums a unit.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/five_bits.h"
#include "kernels/avx2/q8_parts.h"

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
  static __m256i Weights(const uint8_t* p, size_t j) { return FiveBits(p + 2 * kRowTile, j); }
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
  static __m256 Term(const Header& header, const Scales& scales, __m256i sum, const TokenScales& x) {
    const __m256 products = _mm256_mul_ps(header.d, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d));
    return _mm256_fnmadd_ps(_mm256_mul_ps(header.dmin, scales.min), x.s, products);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_k = MakeMatmulParts<Q5K>();

}  // namespace onecopy::kernels::avx2
