// Q6_K x Q8: weights stay unsigned (0..63), so that products reach 2 * 63 * 127, of which two fit a 16-bit
// sum; the offset of 32 is taken off once per source block, from the sums s0 and s1 of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

// Puts bits 2i, 2i+1 of every byte of `bits` as bits 4, 5 into w[i]. The mask drops what crosses bytes.
inline void AddBits45(__m256i bits, __m256i* w) {
  const __m256i mask = _mm256_set1_epi8(48);
  w[0] = _mm256_or_si256(w[0], _mm256_and_si256(_mm256_slli_epi32(bits, 4), mask));
  w[1] = _mm256_or_si256(w[1], _mm256_and_si256(_mm256_slli_epi32(bits, 2), mask));
  w[2] = _mm256_or_si256(w[2], _mm256_and_si256(bits, mask));
  w[3] = _mm256_or_si256(w[3], _mm256_and_si256(_mm256_srli_epi32(bits, 2), mask));
}

// 16 columns: four pair sums in two 16-bit halves, each times the scale, to 32 bits.
inline __m256i ScaledSum(const __m256i* w, const int8_t* q, __m256i scale) {
  return _mm256_add_epi32(_mm256_madd_epi16(PairSums<2>(w, q), scale),
                          _mm256_madd_epi16(PairSums<2>(w + 2, q + 8), scale));
}

struct Q6K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 26 * kRowTile;

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    const __m256 d = LoadScales(header);
    __m256 products[T], offsets[T];
    for (int t = 0; t < T; ++t) products[t] = offsets[t] = _mm256_setzero_ps();
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      // i8 scales to the upper byte of both words of their row's dword; shifts right then extend the sign.
      const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
      const __m256i s0 = _mm256_shuffle_epi8(both, PairIndex(0));
      const __m256i s1 = _mm256_shuffle_epi8(both, PairIndex(8));
      const __m256i scale0 = _mm256_srai_epi16(s0, 8), scale1 = _mm256_srai_epi16(s1, 8);
      const __m256 offset0 = _mm256_cvtepi32_ps(_mm256_srai_epi32(s0, 24));
      const __m256 offset1 = _mm256_cvtepi32_ps(_mm256_srai_epi32(s1, 24));
      __m256i w[8];
      DecodeNibbles(p + 2 * kRowTile, w);
      AddBits45(LoadWeights(p + 18 * kRowTile), w);
      AddBits45(LoadWeights(p + 22 * kRowTile), w + 4);
      for (int t = 0; t < T; ++t) {
        const int8_t* q = x[t].q + 32 * u;
        const __m256i sum = _mm256_add_epi32(ScaledSum(w, q, scale0), ScaledSum(w + 4, q + 16, scale1));
        products[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), BroadcastF32(x[t].d + u), products[t]);
        offsets[t] = _mm256_fmadd_ps(offset0, BroadcastF32(x[t].s0 + u), offsets[t]);
        offsets[t] = _mm256_fmadd_ps(offset1, BroadcastF32(x[t].s1 + u), offsets[t]);
      }
    }
    for (int t = 0; t < T; ++t) {
      acc[t] = _mm256_fmadd_ps(d, _mm256_fnmadd_ps(_mm256_set1_ps(32.0f), offsets[t], products[t]), acc[t]);
    }
  }

 private:
  // Byte shuffle that puts byte first + r above a zero byte, twice, into dword r.
  static __m256i PairIndex(int first) {
    const __m256i rows = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i byte = _mm256_add_epi32(rows, _mm256_set1_epi32(first));
    return _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi32(byte, 8), _mm256_slli_epi32(byte, 24)),
                           _mm256_set1_epi32(0x00800080));
  }
};

}  // namespace

void matmul_q6_k(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  MatmulQ8<Q6K>(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum_q6_k(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                     uint32_t row_begin, uint32_t row_end) {
  MatmulQ8<Q6K>(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::avx2
