// Q4_K x Q8: a unit's eight products of at most 2 * 15 * 127 fit one 16-bit sum, which meets the 6-bit scale
// in madd; d and dmin are applied once per source block.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q4K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kGroup = 8;

  struct Header {
    __m256 d, dmin;
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p), LoadScales(p + 2 * kRowTile)}; }
  using Scales = UnitScales;
  static Scales ScalesAt(const uint8_t* p) { return LoadUnitScales(p); }
  static __m256i Weights(const uint8_t* p, size_t j) { return Nibbles(p + 2 * kRowTile, j); }
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

constinit const MatmulKernel matmul_q4_k = MakeMatmulParts<Q4K>();

}  // namespace onecopy::kernels::avx2
