// Q2_K x Q8: as Q4_K, with a scale and a minimum for each half of a unit.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/bit_pairs.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q2K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 10 * kRowTile;
  static constexpr size_t kPrefetchedBytes = 0;
  using Header = MinHeader;

  static Header LoadHeader(const uint8_t* p) { return LoadMinHeader(p); }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareHalfSums(scales, x); }

  template <int T>
  static void Unit(const Header& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum0[T], sum1[T];
    Clear<T>(sum0);
    Clear<T>(sum1);
    BitPairSums<T>(
        p + 2 * kRowTile, x, u, [](__m512i w, unsigned) { return w; }, sum0, sum1);
    const __m512i both0 = _mm512_cvtepu8_epi32(LoadBytes(p));
    const __m512i both1 = _mm512_cvtepu8_epi32(LoadBytes(p + kRowTile));
    AddHalves<T>(sum0, sum1, Scale(header, both0), Scale(header, both1), x, u, acc);
    const __m512 min0 = Min(header, both0), min1 = Min(header, both1);
    for (int t = 0; t < T; ++t) {
      acc[t] = _mm512_fnmadd_ps(min0, BroadcastF32(x[t].s[0] + u % kPreparedUnits), acc[t]);
      acc[t] = _mm512_fnmadd_ps(min1, BroadcastF32(x[t].s[1] + u % kPreparedUnits), acc[t]);
    }
  }

 private:
  static __m512 Scale(const Header& header, __m512i both) {
    return _mm512_mul_ps(header.d, _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15))));
  }
  static __m512 Min(const Header& header, __m512i both) {
    return _mm512_mul_ps(header.dmin, _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4)));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q2_k = {ActFormat::kQ8, MatmulQ8<Q2K, float>, MatmulQ8<Q2K, double>};

}  // namespace onecopy::kernels::avx512
