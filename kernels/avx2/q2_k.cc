// Q2_K x Q8: as Q4_K, with a scale and a minimum for each half of a unit.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/bit_pairs.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q2K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 10 * kRowTile;

  // Two groups: each half of a unit has its scale.
  static constexpr size_t kGroup = 4;

  struct Header {
    __m256 d, dmin;
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p), LoadScales(p + 2 * kRowTile)}; }
  struct Scales {
    __m256i scale[2];
    __m256 min[2];
  };
  static Scales ScalesAt(const uint8_t* p) {
    const __m256i both0 = LoadBytes(p), both1 = LoadBytes(p + kRowTile), low = _mm256_set1_epi32(15);
    return {
        {InBothWords(_mm256_and_si256(both0, low)), InBothWords(_mm256_and_si256(both1, low))},
        {_mm256_cvtepi32_ps(_mm256_srli_epi32(both0, 4)), _mm256_cvtepi32_ps(_mm256_srli_epi32(both1, 4))}};
  }
  static __m256i Weights(const uint8_t* p, size_t j) { return BitPairs(p + 2 * kRowTile, j); }
  static __m256i Scale(const Scales& scales, size_t group) { return scales.scale[group]; }
  static void AddProducts(const Scales&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Scales& scales, const TokenScales& x, __m256* mins) {
    *mins = _mm256_fmadd_ps(scales.min[0], x.s0, *mins);
    *mins = _mm256_fmadd_ps(scales.min[1], x.s1, *mins);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 mins, __m256 acc) {
    return _mm256_fnmadd_ps(header.dmin, mins, _mm256_fmadd_ps(header.d, products, acc));
  }
  static __m256 Term(const Header& header, const Scales& scales, __m256i sum, const TokenScales& x) {
    const __m256 mins = _mm256_fmadd_ps(scales.min[1], x.s1, _mm256_mul_ps(scales.min[0], x.s0));
    const __m256 products = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    return _mm256_fnmadd_ps(header.dmin, mins, _mm256_mul_ps(header.d, products));
  }

 private:
  // u8[8] to dwords.
  static __m256i LoadBytes(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q2_k = MakeMatmulParts<Q2K>();

}  // namespace onecopy::kernels::avx2
