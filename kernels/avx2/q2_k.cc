// Q2_K x Q8: as Q4_K, with a scale and a minimum for each half of a unit.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/bit_pairs.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q2K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 10 * kRowTile;

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    const __m256 d = LoadScales(header), dmin = LoadScales(header + 2 * kRowTile);
    const __m256i low = _mm256_set1_epi32(15);
    __m256 products[T], mins[T];
    for (int t = 0; t < T; ++t) products[t] = mins[t] = _mm256_setzero_ps();
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256i both0 = LoadBytes(p), both1 = LoadBytes(p + kRowTile);
      const __m256i scale0 = InBothWords(_mm256_and_si256(both0, low));
      const __m256i scale1 = InBothWords(_mm256_and_si256(both1, low));
      const __m256 min0 = _mm256_cvtepi32_ps(_mm256_srli_epi32(both0, 4));
      const __m256 min1 = _mm256_cvtepi32_ps(_mm256_srli_epi32(both1, 4));
      __m256i w[8];
      DecodeBitPairs(p + 2 * kRowTile, w);
      DecodeBitPairs(p + 6 * kRowTile, w + 4);
      for (int t = 0; t < T; ++t) {
        const __m256 sum = TwoScaleSum(w, x[t].q + 32 * u, scale0, scale1);
        products[t] = _mm256_fmadd_ps(sum, BroadcastF32(x[t].d + u), products[t]);
        mins[t] = _mm256_fmadd_ps(min0, BroadcastF32(x[t].s0 + u), mins[t]);
        mins[t] = _mm256_fmadd_ps(min1, BroadcastF32(x[t].s1 + u), mins[t]);
      }
    }
    for (int t = 0; t < T; ++t)
      acc[t] = _mm256_fnmadd_ps(dmin, mins[t], _mm256_fmadd_ps(d, products[t], acc[t]));
  }

 private:
  // u8[8] to dwords.
  static __m256i LoadBytes(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q2_k = MakeMatmulQ8<Q2K>();

}  // namespace onecopy::kernels::avx2
