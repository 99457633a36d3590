// Q4_K to bf16.
#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_matmul.h"

namespace onecopy::kernels::amx {
namespace {

struct Q4K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 18 * kRowTile;

  static void Decode(const uint8_t* header, const uint8_t* p, uint8_t* out) {
    const __m512 scale = _mm512_mul_ps(LoadF16(header), LoadU8(p));
    const __m512 min = _mm512_mul_ps(LoadF16(header + 2 * kRowTile), LoadU8(p + kRowTile));
    StoreNibbles(out, p + 2 * kRowTile, MakeAffine<kUnits4>(scale, min));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q4_k = MakeMatmulBf16<Q4K>();

}  // namespace onecopy::kernels::amx
