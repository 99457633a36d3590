// Q8_0 and INT8_BF16 x Q8: maddubs wants one unsigned operand, so the weight's sign goes to the activation; one product of
// at most 2 * 128 * 127 fits 16 bits.
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
  static __m256i Weights(const uint8_t* p, size_t j) {
    return WidenPairs(LoadWeights(p + 2 * kRowTile + 32 * (j / 2)), j % 2);
  }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    *acc = _mm256_fmadd_ps(scales.d, scaled, *acc);
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(scales.d, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d));
  }

  template <int T>
  static void Segment(const uint8_t*, const uint8_t* p, const Q8Row* x, size_t first_unit, size_t n_units,
                      __m256* acc) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256 d = kLoadScales(p);
      __m256i sum[T];
      for (int t = 0; t < T; ++t) sum[t] = _mm256_setzero_si256();
      for (size_t j = 0; j < 8; ++j) {
        const __m256i w = LoadWeights(p + 2 * kRowTile + 32 * j);
        const __m256i magnitude = _mm256_abs_epi8(w);
        for (int t = 0; t < T; ++t) {
          const __m256i q = _mm256_sign_epi8(Broadcast4(x[t].q + 32 * u + 4 * j), w);
          sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, q), ones));
        }
      }
      for (int t = 0; t < T; ++t) {
        const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[t]), BroadcastF32(x[t].d + u));
        acc[t] = _mm256_fmadd_ps(d, scaled, acc[t]);
      }
    }
  }
};

}  // namespace

constinit const MatmulKernel matmul_q8_0 = MakeMatmulParts<Q8<LoadScales>>();

constinit const MatmulKernel matmul_int8_bf16 = MakeMatmulParts<Q8<LoadBf16Scales>>();

}  // namespace onecopy::kernels::avx2
