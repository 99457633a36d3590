// IQ4_NL x Q8: levels by a byte shuffle, then as Q8_0.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/levels.h"

namespace onecopy::kernels::avx2 {
namespace {

struct IQ4NL {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;

  template <int T>
  static void Segment(const uint8_t*, const uint8_t* p, const Q8Row* x, size_t first_unit, size_t n_units,
                      __m256* acc) {
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256 d = LoadScales(p);
      __m256i w[8], sum[T];
      DecodeByTable(p + 2 * kRowTile, LevelsIQ4(), w);
      SignedSums<T>(w, x, u, _mm256_set1_epi16(1), sum);
      for (int t = 0; t < T; ++t) {
        const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[t]), BroadcastF32(x[t].d + u));
        acc[t] = _mm256_fmadd_ps(d, scaled, acc[t]);
      }
    }
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq4_nl = {ActFormat::kQ8, MatmulQ8<IQ4NL, float>,
                                              MatmulQ8<IQ4NL, double>};

}  // namespace onecopy::kernels::avx2
