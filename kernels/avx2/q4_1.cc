// Q4_1 x Q8: as Q4_0, with a minimum of each unit, which meets the sum of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q4_1 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 20 * kRowTile;

  template <int T>
  static void Segment(const uint8_t*, const uint8_t* p, const Q8Row* x, size_t first_unit, size_t n_units,
                      __m256* acc) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256 d = LoadScales(p), m = LoadScales(p + 2 * kRowTile);
      __m256i w[8];
      DecodeNibbles(p + 4 * kRowTile, w);
      for (int t = 0; t < T; ++t) {
        const __m256i sum = _mm256_madd_epi16(PairSums<8>(w, x[t].q + 32 * u), ones);
        acc[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(x[t].s0[u] + x[t].s1[u]), acc[t]);
        const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), BroadcastF32(x[t].d + u));
        acc[t] = _mm256_fmadd_ps(d, scaled, acc[t]);
      }
    }
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_1 = {ActFormat::kQ8, MatmulQ8<Q4_1, float>, MatmulQ8<Q4_1, double>};

}  // namespace onecopy::kernels::avx2
