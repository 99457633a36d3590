// Q5_1 x Q8: as Q4_1, with a fifth bit.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/fifth_bits.h"
#include "kernels/avx512/unit_scales.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Q5_1 : MinUnits<4> {
  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    AddNibbles<T>(p, x, u, FifthBits{LoadWeights(p + 20 * kRowTile)}, acc);
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_1 = {ActFormat::kQ8, MatmulQ8<Q5_1, float>, MatmulQ8<Q5_1, double>};

}  // namespace onecopy::kernels::avx512
