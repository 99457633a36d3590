// Q5_0 to bf16.
#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_matmul.h"

namespace onecopy::kernels::amx {
namespace {

struct Q5_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 22 * kRowTile;

  static void Decode(const uint8_t*, const uint8_t* p, uint8_t* out) {
    StoreFiveBits(out, p + 2 * kRowTile, MakeAffine<kUnits7>(LoadF16(p), 16.0f));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_0 = MakeMatmulBf16<Q5_0>();

}  // namespace onecopy::kernels::amx
