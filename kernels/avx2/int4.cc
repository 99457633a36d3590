// INT4 x Q8: as Q4_0, with a scale in bf16 per unit, or a scale and a zero per group of units. The zero is taken off by way
// of the sums of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Int4Bf16 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;

  template <int T>
  static void Segment(const uint8_t*, const uint8_t* p, const Q8Row* x, size_t first_unit, size_t n_units,
                      __m256* acc) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256 scale = LoadBf16Scales(p);
      __m256i w[8];
      DecodeNibbles(p + 2 * kRowTile, w);
      for (int t = 0; t < T; ++t) {
        const __m256 sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(PairSums<8>(w, x[t].q + 32 * u), ones));
        const __m256 offset = _mm256_set1_ps(8.0f * (x[t].s0[u] + x[t].s1[u]));
        acc[t] = _mm256_fmadd_ps(scale, _mm256_fmsub_ps(sum, BroadcastF32(x[t].d + u), offset), acc[t]);
      }
    }
  }
};

template <size_t kUnits>
struct Int4 {
  static constexpr size_t kBlockUnits = kUnits;
  static constexpr size_t kHeaderBytes = 3 * kRowTile;
  static constexpr size_t kUnitBytes = 16 * kRowTile;

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i lower =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(header + 2 * kRowTile)));
    const __m256i more = _mm256_slli_epi32(_mm256_and_si256(lower, _mm256_set1_epi32(0xe0)), 8);
    const __m256 scale = _mm256_or_ps(LoadBf16Scales(header), _mm256_castsi256_ps(more));
    const __m256 zero = _mm256_cvtepi32_ps(_mm256_and_si256(lower, _mm256_set1_epi32(31)));
    __m256 products[T], offsets[T];
    for (int t = 0; t < T; ++t) products[t] = offsets[t] = _mm256_setzero_ps();
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      __m256i w[8];
      DecodeNibbles(p, w);
      for (int t = 0; t < T; ++t) {
        const __m256 sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(PairSums<8>(w, x[t].q + 32 * u), ones));
        products[t] = _mm256_fmadd_ps(sum, BroadcastF32(x[t].d + u), products[t]);
        offsets[t] = _mm256_add_ps(offsets[t], _mm256_set1_ps(x[t].s0[u] + x[t].s1[u]));
      }
    }
    for (int t = 0; t < T; ++t)
      acc[t] = _mm256_fmadd_ps(scale, _mm256_fnmadd_ps(zero, offsets[t], products[t]), acc[t]);
  }
};

}  // namespace

constinit const MatmulKernel matmul_int4_bf16 = MakeMatmulQ8<Int4Bf16>();

constinit const MatmulKernel matmul_int4_32 = MakeMatmulQ8<Int4<1>>();

constinit const MatmulKernel matmul_int4_64 = MakeMatmulQ8<Int4<2>>();

constinit const MatmulKernel matmul_int4_128 = MakeMatmulQ8<Int4<4>>();

}  // namespace onecopy::kernels::avx2
