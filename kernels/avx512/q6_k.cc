// Q6_K x Q8: weights stay unsigned (0..63); integer sums are of 16 columns, as the scales, and begin with what
// takes the offset of 32 off.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q6K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 26 * kRowTile;
  static constexpr size_t kPrefetchedBytes = 0;
  using Header = ScaleHeader;

  static Header LoadHeader(const uint8_t* p) { return {LoadF16(p)}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStarts<32>(scales, x); }

  template <int T>
  static void Unit(const Header& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    const __m512 scale0 = SignedScale(header, p), scale1 = SignedScale(header, p + kRowTile);
    const __m512i low = _mm512_set1_epi8(15), mask = _mm512_set1_epi8(48);
    const __m512i bits0 = LoadWeights(p + 18 * kRowTile), bits1 = LoadWeights(p + 22 * kRowTile);
    __m512i sum0[T], sum1[T];
    Start<T>(x, u, sum0, 0);
    Start<T>(x, u, sum1, 1);
    // Bits 2j, 2j+1 of every byte are bits 4, 5 of columns 4j... Shifts move bits between bytes of a dword; the mask
    // drops them.
    for (size_t j = 0; j < 4; ++j) {
      const __m512i both = LoadWeights(p + 2 * kRowTile + 64 * j);
      const __m512i w0 = _mm512_and_si512(both, low), w1 = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
      AddColumns4<T>(_mm512_or_si512(w0, _mm512_and_si512(ToBit4(bits0, j), mask)), x, 32 * u + 4 * j, sum0);
      AddColumns4<T>(_mm512_or_si512(w1, _mm512_and_si512(ToBit4(bits1, j), mask)), x, 32 * u + 16 + 4 * j,
                     sum1);
    }
    AddHalves<T>(sum0, sum1, scale0, scale1, x, u, acc);
  }

 private:
  // Moves bits 2j, 2j+1 to 4, 5.
  static __m512i ToBit4(__m512i bits, size_t j) {
    return j < 2 ? _mm512_slli_epi32(bits, static_cast<unsigned>(4 - 2 * j))
                 : _mm512_srli_epi32(bits, static_cast<unsigned>(2 * j - 4));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q6_k = {ActFormat::kQ8, MatmulQ8<Q6K, float>, MatmulQ8<Q6K, double>};

}  // namespace onecopy::kernels::avx512
