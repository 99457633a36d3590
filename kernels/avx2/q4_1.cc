// Q4_1 x Q8: as Q4_0, with a minimum of each unit, which meets the sum of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/unit_scales.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q4_1 : MinUnits {
  static constexpr size_t kUnitBytes = 20 * kRowTile;
  static constexpr size_t kGroup = 8;
  static __m256i Weights(const uint8_t* p, size_t j) { return Nibbles(p + 4 * kRowTile, j); }
};

}  // namespace

constinit const MatmulKernel matmul_q4_1 = MakeMatmulParts<Q4_1>();

}  // namespace onecopy::kernels::avx2
