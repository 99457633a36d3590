// Q4_0 x Q8: as Q4_K with one scale per unit; the offset of 8 is taken off by way of the sums of the
// activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/unit_scales.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q4_0 : OffsetUnits<LoadScales, 8> {
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kGroup = 8;
  static __m256i Weights(const uint8_t* p, size_t j) { return Nibbles(p + 2 * kRowTile, j); }
};

}  // namespace

constinit const MatmulKernel matmul_q4_0 = MakeMatmulParts<Q4_0>();

}  // namespace onecopy::kernels::avx2
