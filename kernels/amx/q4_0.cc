// Q4_0 to bf16.
#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_matmul.h"

namespace onecopy::kernels::amx {
namespace {

struct Q4_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;

  static void Decode(const uint8_t*, const uint8_t* p, uint8_t* out) {
    StoreNibbles(out, p + 2 * kRowTile, MakeAffine<kUnits4>(LoadF16(p), 8.0f));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_0 = MakeMatmulBf16<Q4_0>();

}  // namespace onecopy::kernels::amx
