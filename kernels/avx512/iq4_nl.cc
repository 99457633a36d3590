// IQ4_NL x Q8: as Q4_0, with levels by a byte shuffle.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/levels.h"

namespace onecopy::kernels::avx512 {
namespace {

struct IQ4NL {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = NoHeader;

  static Header LoadHeader(const uint8_t*) { return {}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStart<kLevelsOffset>(scales, x); }

  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Start<T>(x, u, sum);
    NibbleSums<T>(p + 2 * kRowTile, x, u, Levels(), sum);
    AddUnit<T>(sum, LoadF16(p), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq4_nl = {ActFormat::kQ8, MatmulQ8<IQ4NL, float>,
                                              MatmulQ8<IQ4NL, double>};

}  // namespace onecopy::kernels::avx512
