// IQ4_NL x Q8: as Q4_0, with levels by a byte shuffle.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/levels.h"
#include "kernels/avx512/unit_scales.h"

namespace onecopy::kernels::avx512 {
namespace {

struct IQ4NL : OffsetUnits<LoadF16, kLevelsOffset> {
  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    AddNibbles<T>(p, x, u, Levels(), acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq4_nl = {ActFormat::kQ8, MatmulQ8<IQ4NL, float>,
                                              MatmulQ8<IQ4NL, double>};

}  // namespace onecopy::kernels::avx512
