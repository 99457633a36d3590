// Q6_K x Q8: weights stay unsigned (0..63); the offset of 32 is taken off by way of the sums of the activations, which
// are kept per 16 columns for that.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q6K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 26 * kRowTile;
  static constexpr size_t kPrefetchedBytes = 0;
  struct Header {
    __m512 d;
  };

  static Header LoadHeader(const uint8_t* p) { return {LoadF16(p)}; }

  template <int T>
  static void Unit(const Header& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    const __m512 scale0 = Scale(header, p), scale1 = Scale(header, p + kRowTile);
    const __m512i low = _mm512_set1_epi8(15), mask = _mm512_set1_epi8(48);
    const __m512i bits0 = LoadWeights(p + 18 * kRowTile), bits1 = LoadWeights(p + 22 * kRowTile);
    __m512i sum0[T], sum1[T];
    Clear<T>(sum0);
    Clear<T>(sum1);
    // Bits 2j, 2j+1 of every byte are bits 4, 5 of columns 4j... Shifts move bits between bytes of a dword; the mask
    // drops them.
    for (size_t j = 0; j < 4; ++j) {
      const __m512i both = LoadWeights(p + 2 * kRowTile + 64 * j);
      const __m512i w0 = _mm512_and_si512(both, low), w1 = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
      AddColumns4<T>(_mm512_or_si512(w0, _mm512_and_si512(ToBit4(bits0, j), mask)), x, 32 * u + 4 * j, sum0);
      AddColumns4<T>(_mm512_or_si512(w1, _mm512_and_si512(ToBit4(bits1, j), mask)), x, 32 * u + 16 + 4 * j,
                     sum1);
    }
    const __m512 offset0 = _mm512_mul_ps(scale0, _mm512_set1_ps(32.0f));
    const __m512 offset1 = _mm512_mul_ps(scale1, _mm512_set1_ps(32.0f));
    for (int t = 0; t < T; ++t) {
      __m512 term = _mm512_mul_ps(scale0, _mm512_cvtepi32_ps(sum0[t]));
      term = _mm512_fmadd_ps(scale1, _mm512_cvtepi32_ps(sum1[t]), term);
      term = _mm512_mul_ps(term, BroadcastF32(x[t].d + u));
      term = _mm512_fnmadd_ps(offset0, BroadcastF32(x[t].s0 + u), term);
      term = _mm512_fnmadd_ps(offset1, BroadcastF32(x[t].s1 + u), term);
      acc[t] = _mm512_add_ps(acc[t], term);
    }
  }

 private:
  static __m512 Scale(const Header& header, const uint8_t* p) {
    return _mm512_mul_ps(header.d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(LoadBytes(p))));
  }
  // Moves bits 2j, 2j+1 to 4, 5.
  static __m512i ToBit4(__m512i bits, size_t j) {
    return j < 2 ? _mm512_slli_epi32(bits, static_cast<unsigned>(4 - 2 * j))
                 : _mm512_srli_epi32(bits, static_cast<unsigned>(2 * j - 4));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q6_k = {ActFormat::kQ8, MatmulQ8<Q6K, float>, MatmulQ8<Q6K, double>};

}  // namespace onecopy::kernels::avx512
