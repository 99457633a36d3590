// Q8_0 to bf16.
#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_matmul.h"

namespace onecopy::kernels::amx {
namespace {

struct Q8_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 34 * kRowTile;

  static void Decode(const uint8_t*, const uint8_t* p, uint8_t* out) {
    const Affine affine = MakeAffine<kUnits8>(LoadF16(p), 128.0f);
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));  // signed to unsigned, 128 more
    for (size_t j = 0; j < 8; ++j) {
      const __m512i bytes = _mm512_xor_si512(LoadWeights(p + 2 * kRowTile + 64 * j), sign);
      StoreBytes8(out + 2 * j * kLineBytes, bytes, affine);
    }
  }
};

}  // namespace

constinit const MatmulKernel matmul_q8_0 = MakeMatmulBf16<Q8_0>();

}  // namespace onecopy::kernels::amx
