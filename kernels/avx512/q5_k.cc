// Q5_K x Q8: as Q4_K, with a fifth bit.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/fifth_bits.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q5K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 22 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = MinHeader;

  static Header LoadHeader(const uint8_t* p) { return LoadMinHeader(p); }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareSums(scales, x); }

  template <int T>
  static void Unit(const MinHeader& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Clear<T>(sum);
    NibbleSums<T>(p + 2 * kRowTile, x, u, FifthBits{LoadWeights(p + 18 * kRowTile)}, sum);
    AddMinUnit<T>(sum, UnitScale(header, p), UnitMin(header, p), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_k = {ActFormat::kQ8, MatmulQ8<Q5K, float>, MatmulQ8<Q5K, double>};

}  // namespace onecopy::kernels::avx512
