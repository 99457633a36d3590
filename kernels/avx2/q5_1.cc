// Q5_1 x Q8: as Q5_0, with a minimum of each unit, which meets the sum of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/five_bits.h"
#include "kernels/avx2/unit_scales.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q5_1 : MinUnits {
  static constexpr size_t kUnitBytes = 24 * kRowTile;
  static constexpr size_t kGroup = 4;
  static __m256i Weights(const uint8_t* p, size_t j) { return FiveBits(p + 4 * kRowTile, j); }
};

}  // namespace

constinit const MatmulKernel matmul_q5_1 = MakeMatmulParts<Q5_1>();

}  // namespace onecopy::kernels::avx2
