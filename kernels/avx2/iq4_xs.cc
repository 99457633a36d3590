// IQ4_XS x Q8: as IQ4_NL; the unit's scale meets the products in madd, d is applied once per source block.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/levels.h"

namespace onecopy::kernels::avx2 {
namespace {

struct IQ4XS {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 17 * kRowTile;

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    const __m256 d = LoadScales(header);
    __m256 products[T];
    for (int t = 0; t < T; ++t) products[t] = _mm256_setzero_ps();
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      __m256i w[8], sum[T];
      DecodeByTable(p + kRowTile, LevelsIQ4(), w);
      SignedSums<T>(w, x, u, LoadPairScales(p), sum);
      for (int t = 0; t < T; ++t)
        products[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t]), BroadcastF32(x[t].d + u), products[t]);
    }
    for (int t = 0; t < T; ++t) acc[t] = _mm256_fmadd_ps(d, products[t], acc[t]);
  }

 private:
  // i8[8] to both words of each row's dword.
  static __m256i LoadPairScales(const uint8_t* p) {
    const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m256i low = _mm256_and_si256(wide, _mm256_set1_epi32(0xffff));
    return _mm256_or_si256(low, _mm256_slli_epi32(wide, 16));
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq4_xs = {ActFormat::kQ8, MatmulQ8<IQ4XS, float>,
                                              MatmulQ8<IQ4XS, double>};

}  // namespace onecopy::kernels::avx2
