// Q4_K x Q8: d * sc and dmin * m are made once a unit for all tokens.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q4K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = MinHeader;

  static Header LoadHeader(const uint8_t* p) { return LoadMinHeader(p); }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareSums(scales, x); }

  template <int T>
  static void Unit(const MinHeader& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Clear<T>(sum);
    NibbleSums<T>(
        p + 2 * kRowTile, x, u, [](__m512i w, size_t, bool) { return w; }, sum);
    AddMinUnit<T>(sum, UnitScale(header, p), UnitMin(header, p), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_k = {ActFormat::kQ8, MatmulQ8<Q4K, float>, MatmulQ8<Q4K, double>};

}  // namespace onecopy::kernels::avx512
