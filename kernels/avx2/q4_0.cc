// Q4_0 x Q8: as Q4_K with one scale per unit; the offset of 8 is taken off by way of the sums of the
// activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q4_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kGroup = 8;

  struct Scales {
    __m256 d;
  };
  static Scales ScalesAt(const uint8_t* p) { return {LoadScales(p)}; }
  static __m256i Weights(const uint8_t* p, size_t j) { return Nibbles(p + 2 * kRowTile, j); }
  static __m256i Scale(const Scales&, size_t) { return _mm256_set1_epi16(1); }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    *acc = _mm256_fmadd_ps(scales.d, Products(sum, x), *acc);
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(scales.d, Products(sum, x));
  }

 private:
  static __m256 Products(__m256i sum, const TokenScales& x) {
    const __m256 offset = _mm256_mul_ps(_mm256_set1_ps(8.0f), x.s);
    return _mm256_fmsub_ps(_mm256_cvtepi32_ps(sum), x.d, offset);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_0 = MakeMatmulParts<Q4_0>();

}  // namespace onecopy::kernels::avx2
