// IQ4_NL x Q8: levels by a byte shuffle, then as Q8_0.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/levels.h"

namespace onecopy::kernels::avx2 {
namespace {

struct IQ4NL {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;

  static constexpr size_t kGroup = 0;
  struct Scales {
    __m256 d;
  };
  static Scales ScalesAt(const uint8_t* p) { return {LoadScales(p)}; }
  static __m256i Weights(const uint8_t* p, size_t j) { return Levels(p + 2 * kRowTile, j); }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    *acc = _mm256_fmadd_ps(scales.d, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d), *acc);
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(scales.d, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d));
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq4_nl = MakeMatmulParts<IQ4NL>();

}  // namespace onecopy::kernels::avx2
