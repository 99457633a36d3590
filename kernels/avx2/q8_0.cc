// Q8_0 and INT8_BF16 x Q8.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

template <__m256 (*kLoadScales)(const uint8_t*)>
struct Q8 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 34 * kRowTile;

  static constexpr size_t kGroup = 0;
  struct Scales {
    __m256 d;
  };
  static Scales ScalesAt(const uint8_t* p) { return {kLoadScales(p)}; }
  static __m256i Weights(const uint8_t* p, size_t j) { return LoadWeights(p + 2 * kRowTile + 32 * j); }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    *acc = _mm256_fmadd_ps(scales.d, scaled, *acc);
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(scales.d, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q8_0 = MakeMatmulParts<Q8<LoadScales>>();

constinit const MatmulKernel matmul_int8_bf16 = MakeMatmulParts<Q8<LoadBf16Scales>>();

}  // namespace onecopy::kernels::avx2
