// IQ4_XS x Q8: as IQ4_NL, with the unit's scale in the block's.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/levels.h"

namespace onecopy::kernels::avx512 {
namespace {

struct IQ4XS {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 17 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = ScaleHeader;

  static Header LoadHeader(const uint8_t* p) { return {LoadF16(p)}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStart<kLevelsOffset>(scales, x); }

  template <int T>
  static void Unit(const Header& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Start<T>(x, u, sum);
    NibbleSums<T>(p + kRowTile, x, u, Levels(), sum);
    AddUnit<T>(sum, SignedScale(header, p), x, u, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq4_xs = {ActFormat::kQ8, MatmulQ8<IQ4XS, float>,
                                              MatmulQ8<IQ4XS, double>};

}  // namespace onecopy::kernels::avx512
