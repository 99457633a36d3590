// Q3_K x Q8: as Q6_K: weights stay unsigned (0..7), and integer sums begin with what takes the offset of 4 off.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/bit_pairs.h"

namespace onecopy::kernels::avx512 {
namespace {

// Bit j of every byte as bit 2. The mask drops what the shift moves between bytes.
inline __m512i Bit2(__m512i bits, unsigned j) {
  const __m512i moved = j < 2 ? _mm512_slli_epi32(bits, 2 - j) : _mm512_srli_epi32(bits, j - 2);
  return _mm512_and_si512(moved, _mm512_set1_epi8(4));
}

struct Q3K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 14 * kRowTile;
  static constexpr size_t kPrefetchedBytes = 0;
  using Header = ScaleHeader;

  static Header LoadHeader(const uint8_t* p) { return {LoadF16(p)}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStarts<4>(scales, x); }

  template <int T>
  static void Unit(const Header& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum0[T], sum1[T];
    Start<T>(x, u, sum0, 0);
    Start<T>(x, u, sum1, 1);
    const __m512i high = LoadWeights(p + 10 * kRowTile);
    BitPairSums<T>(
        p + 2 * kRowTile, x, u, [high](__m512i w, unsigned j) { return _mm512_or_si512(w, Bit2(high, j)); },
        sum0, sum1);
    AddHalves<T>(sum0, sum1, SignedScale(header, p), SignedScale(header, p + kRowTile), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q3_k = {ActFormat::kQ8, MatmulQ8<Q3K, float>, MatmulQ8<Q3K, double>};

}  // namespace onecopy::kernels::avx512
