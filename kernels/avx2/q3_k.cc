// Q3_K x Q8: as Q6_K: weights stay unsigned (0..7), and the offset of 4 is taken off once per source block, from the sums of
// the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/bit_pairs.h"

namespace onecopy::kernels::avx2 {
namespace {

// Puts bit j of every byte of `bits` as bit 2 into w[j]. The mask drops what crosses bytes.
inline void AddBit2(__m256i bits, __m256i* w) {
  const __m256i bit2 = _mm256_set1_epi8(4);
  w[0] = _mm256_or_si256(w[0], _mm256_and_si256(_mm256_slli_epi32(bits, 2), bit2));
  w[1] = _mm256_or_si256(w[1], _mm256_and_si256(_mm256_slli_epi32(bits, 1), bit2));
  w[2] = _mm256_or_si256(w[2], _mm256_and_si256(bits, bit2));
  w[3] = _mm256_or_si256(w[3], _mm256_and_si256(_mm256_srli_epi32(bits, 1), bit2));
  w[4] = _mm256_or_si256(w[4], _mm256_and_si256(_mm256_srli_epi32(bits, 2), bit2));
  w[5] = _mm256_or_si256(w[5], _mm256_and_si256(_mm256_srli_epi32(bits, 3), bit2));
  w[6] = _mm256_or_si256(w[6], _mm256_and_si256(_mm256_srli_epi32(bits, 4), bit2));
  w[7] = _mm256_or_si256(w[7], _mm256_and_si256(_mm256_srli_epi32(bits, 5), bit2));
}

struct Q3K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 14 * kRowTile;

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    const __m256 d = LoadScales(header);
    __m256 products[T], offsets[T];
    for (int t = 0; t < T; ++t) products[t] = offsets[t] = _mm256_setzero_ps();
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      const __m256i s0 = LoadSigned(p), s1 = LoadSigned(p + kRowTile);
      const __m256i scale0 = InBothWords(s0), scale1 = InBothWords(s1);
      const __m256 offset0 = _mm256_cvtepi32_ps(s0), offset1 = _mm256_cvtepi32_ps(s1);
      __m256i w[8];
      DecodeBitPairs(p + 2 * kRowTile, w);
      DecodeBitPairs(p + 6 * kRowTile, w + 4);
      AddBit2(LoadWeights(p + 10 * kRowTile), w);
      for (int t = 0; t < T; ++t) {
        const __m256 sum = TwoScaleSum(w, x[t].q + 32 * u, scale0, scale1);
        products[t] = _mm256_fmadd_ps(sum, BroadcastF32(x[t].d + u), products[t]);
        offsets[t] = _mm256_fmadd_ps(offset0, BroadcastF32(x[t].s0 + u), offsets[t]);
        offsets[t] = _mm256_fmadd_ps(offset1, BroadcastF32(x[t].s1 + u), offsets[t]);
      }
    }
    for (int t = 0; t < T; ++t)
      acc[t] = _mm256_fmadd_ps(d, _mm256_fnmadd_ps(_mm256_set1_ps(4.0f), offsets[t], products[t]), acc[t]);
  }

 private:
  // i8[8] to dwords.
  static __m256i LoadSigned(const uint8_t* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q3_k = MakeMatmulQ8<Q3K>();

}  // namespace onecopy::kernels::avx2
