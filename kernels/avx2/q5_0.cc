// Q5_0 x Q8: the offset of 16 is taken off by way of the sums of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/five_bits.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q5_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 22 * kRowTile;

  static constexpr size_t kGroup = 4;

  struct Scales {
    __m256 d;
  };
  static Scales ScalesAt(const uint8_t* p) { return {LoadScales(p)}; }
  static __m256i Weights(const uint8_t* p, size_t j) { return FiveBits(p + 2 * kRowTile, j); }
  static __m256i Scale(const Scales&, size_t) { return _mm256_set1_epi16(1); }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    *acc = _mm256_fmadd_ps(scales.d, Products(sum, x), *acc);
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(scales.d, Products(sum, x));
  }

 private:
  static __m256 Products(__m256i sum, const TokenScales& x) {
    return _mm256_fmsub_ps(_mm256_cvtepi32_ps(sum), x.d, _mm256_mul_ps(_mm256_set1_ps(16.0f), x.s));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_0 = MakeMatmulParts<Q5_0>();

}  // namespace onecopy::kernels::avx2
