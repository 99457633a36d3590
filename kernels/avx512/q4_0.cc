// Q4_0 x Q8: weights are 8 too large.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/unit_scales.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q4_0 : OffsetUnits<LoadF16, 8> {
  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    AddNibbles<T>(p, x, u, AsTheyAre(), acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_0 = {ActFormat::kQ8, MatmulQ8<Q4_0, float>, MatmulQ8<Q4_0, double>};

}  // namespace onecopy::kernels::avx512
