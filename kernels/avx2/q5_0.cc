// Q5_0 x Q8: the offset of 16 is taken off by way of the sums of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/five_bits.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q5_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 22 * kRowTile;

  template <int T>
  static void Segment(const uint8_t*, const uint8_t* p, const Q8Row* x, size_t first_unit, size_t n_units,
                      __m256* acc) {
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256 d = LoadScales(p);
      __m256i w[8];
      DecodeFiveBits(p + 2 * kRowTile, w);
      for (int t = 0; t < T; ++t) {
        const __m256 offset = _mm256_set1_ps(16.0f * (x[t].s0[u] + x[t].s1[u]));
        const __m256 sum = FiveBitSum(w, x[t].q + 32 * u);
        acc[t] = _mm256_fmadd_ps(d, _mm256_fmsub_ps(sum, BroadcastF32(x[t].d + u), offset), acc[t]);
      }
    }
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_0 = {ActFormat::kQ8, MatmulQ8<Q5_0, float>, MatmulQ8<Q5_0, double>};

}  // namespace onecopy::kernels::avx2
