// Q4_0 x Q8: weights are 8 too large.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q4_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = NoHeader;

  static Header LoadHeader(const uint8_t*) { return {}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStart<8>(scales, x); }

  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Start<T>(x, u, sum);
    NibbleSums<T>(
        p + 2 * kRowTile, x, u, [](__m512i w, size_t, bool) { return w; }, sum);
    AddUnit<T>(sum, LoadF16(p), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_0 = {ActFormat::kQ8, MatmulQ8<Q4_0, float>, MatmulQ8<Q4_0, double>};

}  // namespace onecopy::kernels::avx512
