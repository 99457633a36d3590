// MXFP4 x Q8: the sixteen doubled values, 12 too large so that none is negative, by a byte shuffle; the offset is taken off by
// way of the sums of the activations. Products reach 2 * 24 * 127, of which five fit a 16-bit sum.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/levels.h"

namespace onecopy::kernels::avx2 {
namespace {

struct MXFP4 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 17 * kRowTile;

  template <int T>
  static void Segment(const uint8_t*, const uint8_t* p, const Q8Row* x, size_t first_unit, size_t n_units,
                      __m256* acc) {
    const __m256i ones = _mm256_set1_epi16(1);
    // kDoubledE2M1 (types/mxfp4.h) + 12.
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256 d = HalfOfE8M0(p);
      __m256i w[8];
      DecodeByTable(p + kRowTile, table, w);
      for (int t = 0; t < T; ++t) {
        const int8_t* q = x[t].q + 32 * u;
        const __m256i low = _mm256_madd_epi16(PairSums<4>(w, q), ones);
        const __m256i high = _mm256_madd_epi16(PairSums<4>(w + 4, q + 16), ones);
        const __m256 sum = _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
        const __m256 offset = _mm256_set1_ps(12.0f * (x[t].s0[u] + x[t].s1[u]));
        acc[t] = _mm256_fmadd_ps(d, _mm256_fmsub_ps(sum, BroadcastF32(x[t].d + u), offset), acc[t]);
      }
    }
  }

 private:
  // 2^(e - 128) for e u8[8]; the two lowest are subnormal.
  static __m256 HalfOfE8M0(const uint8_t* p) {
    const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i lowest = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, lowest));
  }
};

}  // namespace

constinit const MatmulKernel matmul_mxfp4 = {ActFormat::kQ8, MatmulQ8<MXFP4, float>, MatmulQ8<MXFP4, double>};

}  // namespace onecopy::kernels::avx2
