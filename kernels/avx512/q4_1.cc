// Q4_1 x Q8: a minimum of each unit meets the sum of the activations.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/unit_scales.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q4_1 : MinUnits<> {
  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    AddNibbles<T>(p, x, u, AsTheyAre(), acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_1 = {ActFormat::kQ8, MatmulQ8<Q4_1, float>, MatmulQ8<Q4_1, double>};

}  // namespace onecopy::kernels::avx512
