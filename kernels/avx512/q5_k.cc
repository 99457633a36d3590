// Q5_K x Q8: as Q4_K, with a fifth bit.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q5K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 22 * kRowTile;
  using Header = MinHeader;

  static Header LoadHeader(const uint8_t* p) { return LoadMinHeader(p); }

  template <int T>
  static void Unit(const MinHeader& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Clear<T>(sum);
    const __m512i bits = LoadWeights(p + 18 * kRowTile);
    const __m512i bit4 = _mm512_set1_epi8(16);
    // Bit j of every byte is bit 4 of columns 4j.., bit 4 + j of columns 16 + 4j... Shifts move bits between bytes of
    // a dword; the mask drops them.
    const auto add_bit4 = [&](__m512i w, size_t j, bool high) {
      const __m512i moved = high ? _mm512_srli_epi32(bits, static_cast<unsigned>(j))
                                 : _mm512_slli_epi32(bits, static_cast<unsigned>(4 - j));
      return _mm512_or_si512(w, _mm512_and_si512(moved, bit4));
    };
    NibbleSums<T>(p + 2 * kRowTile, x, u, add_bit4, sum);
    AddMinUnit<T>(sum, UnitScale(header, p), UnitMin(header, p), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_k = {ActFormat::kQ8, MatmulQ8<Q5K, float>, MatmulQ8<Q5K, double>};

}  // namespace onecopy::kernels::avx512
