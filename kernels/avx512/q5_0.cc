// Q5_0 x Q8: weights are 16 too large.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/fifth_bits.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q5_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 22 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = NoHeader;

  static Header LoadHeader(const uint8_t*) { return {}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStart<16>(scales, x); }

  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Start<T>(x, u, sum);
    NibbleSums<T>(p + 2 * kRowTile, x, u, FifthBits{LoadWeights(p + 18 * kRowTile)}, sum);
    AddUnit<T>(sum, LoadF16(p), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_0 = {ActFormat::kQ8, MatmulQ8<Q5_0, float>, MatmulQ8<Q5_0, double>};

}  // namespace onecopy::kernels::avx512
