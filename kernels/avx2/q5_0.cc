// Q5_0 x Q8: the offset of 16 is taken off by way of the sums of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/five_bits.h"
#include "kernels/avx2/unit_scales.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q5_0 : OffsetUnits<LoadScales, 16> {
  static constexpr size_t kUnitBytes = 22 * kRowTile;
  static constexpr size_t kGroup = 4;
  static __m256i Weights(const uint8_t* p, size_t j) { return FiveBits(p + 2 * kRowTile, j); }
};

}  // namespace

constinit const MatmulKernel matmul_q5_0 = MakeMatmulParts<Q5_0>();

}  // namespace onecopy::kernels::avx2
