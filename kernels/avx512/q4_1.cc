// Q4_1 x Q8: a minimum of each unit meets the sum of the activations.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q4_1 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 20 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = NoHeader;

  static Header LoadHeader(const uint8_t*) { return {}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareSums(scales, x); }

  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Clear<T>(sum);
    NibbleSums<T>(
        p + 4 * kRowTile, x, u, [](__m512i w, size_t, bool) { return w; }, sum);
    AddMinUnit<T>(sum, LoadF16(p), Negated(LoadF16(p + 2 * kRowTile)), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_1 = {ActFormat::kQ8, MatmulQ8<Q4_1, float>, MatmulQ8<Q4_1, double>};

}  // namespace onecopy::kernels::avx512
