// Q4_1 x Q8: as Q4_0, with a minimum of each unit, which meets the sum of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q4_1 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 20 * kRowTile;

  static constexpr size_t kGroup = 8;

  struct Scales {
    __m256 d, m;
  };
  static Scales ScalesAt(const uint8_t* p) { return {LoadScales(p), LoadScales(p + 2 * kRowTile)}; }
  static __m256i Weights(const uint8_t* p, size_t j) { return Nibbles(p + 4 * kRowTile, j); }
  static __m256i Scale(const Scales&, size_t) { return _mm256_set1_epi16(1); }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    *acc = _mm256_fmadd_ps(scales.d, Products(sum, x), _mm256_fmadd_ps(scales.m, x.s, *acc));
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_fmadd_ps(scales.d, Products(sum, x), _mm256_mul_ps(scales.m, x.s));
  }

 private:
  static __m256 Products(__m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_1 = MakeMatmulParts<Q4_1>();

}  // namespace onecopy::kernels::avx2
