// Q8_0 and INT8_BF16 x Q8: vpdpbusd wants unsigned weights, so the sign bit is flipped, which adds 128.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

template <__m512 (*kLoadScales)(const uint8_t*)>
struct Q8 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 34 * kRowTile;
  static constexpr size_t kMostPairedTokens = 8;
  static constexpr size_t kPrefetchedBytes = 0;
  using Header = NoHeader;

  static Header LoadHeader(const uint8_t*) { return {}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStart<128>(scales, x); }

  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Start<T>(x, u, sum);
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    for (size_t j = 0; j < 8; ++j) {
      const __m512i w = _mm512_xor_si512(LoadWeights(p + 2 * kRowTile + 64 * j), sign);
      AddColumns4<T>(w, x, 32 * u + 4 * j, sum);
    }
    AddUnit<T>(sum, kLoadScales(p), x, u, acc);
  }
};

using Q8_0 = Q8<LoadF16>;
using Int8Bf16 = Q8<LoadBf16>;

}  // namespace

constinit const MatmulKernel matmul_q8_0 = {ActFormat::kQ8, MatmulQ8<Q8_0, float>, MatmulQ8<Q8_0, double>};

constinit const MatmulKernel matmul_int8_bf16 = {ActFormat::kQ8, MatmulQ8<Int8Bf16, float>,
                                                 MatmulQ8<Int8Bf16, double>};

}  // namespace onecopy::kernels::avx512
