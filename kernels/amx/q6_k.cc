// Q6_K to bf16.
#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_matmul.h"

namespace onecopy::kernels::amx {
namespace {

struct Q6K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 26 * kRowTile;

  static void Decode(const uint8_t* header, const uint8_t* p, uint8_t* out) {
    const __m512 d = LoadF16(header);
    const Affine affine0 = MakeAffine<kUnits7>(_mm512_mul_ps(d, LoadI8(p)), 32.0f);
    const Affine affine1 = MakeAffine<kUnits7>(_mm512_mul_ps(d, LoadI8(p + kRowTile)), 32.0f);
    const __m512i low = _mm512_set1_epi8(15), bits45 = _mm512_set1_epi8(48),
                  bit7 = _mm512_set1_epi8(static_cast<char>(0x80));
    const __m512i high0 = LoadWeights(p + 18 * kRowTile), high1 = LoadWeights(p + 22 * kRowTile);
    // Bits 2j, 2j + 1 of every byte are bits 4, 5 of columns 4j... Rotations move bits between bytes of a dword; the mask
    // drops them.
    for (int j = 0; j < 4; ++j) {
      const __m512i v = LoadWeights(p + 2 * kRowTile + kLineBytes * j);
      const __m512i w0 = AndOr(v, low, bit7), w1 = AndOr(_mm512_srli_epi16(v, 4), low, bit7);
      const __m512i turn = _mm512_set1_epi32(4 - 2 * j);
      StoreBytes7(out + 2 * kLineBytes * j, AndOr(_mm512_rolv_epi32(high0, turn), bits45, w0), affine0);
      StoreBytes7(out + (8 + 2 * j) * kLineBytes, AndOr(_mm512_rolv_epi32(high1, turn), bits45, w1), affine1);
    }
  }
};

}  // namespace

constinit const MatmulKernel matmul_q6_k = MakeMatmulBf16<Q6K>();

}  // namespace onecopy::kernels::amx
