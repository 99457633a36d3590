// Q5_K to bf16.
#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_matmul.h"

namespace onecopy::kernels::amx {
namespace {

struct Q5K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 4 * kRowTile;
  static constexpr size_t kUnitBytes = 22 * kRowTile;

  static void Decode(const uint8_t* header, const uint8_t* p, uint8_t* out) {
    const __m512 scale = _mm512_mul_ps(LoadF16(header), LoadU8(p));
    const __m512 min = _mm512_mul_ps(LoadF16(header + 2 * kRowTile), LoadU8(p + kRowTile));
    const Affine affine = MakeAffine<kUnits7>(scale, min);
    const __m512i low = _mm512_set1_epi8(15), bit4 = _mm512_set1_epi8(16),
                  bit7 = _mm512_set1_epi8(static_cast<char>(0x80));
    const __m512i bits = LoadWeights(p + 18 * kRowTile);
    // Bit j of every byte is bit 4 of columns 4j.., bit 4 + j of columns 16 + 4j... Shifts move bits between bytes of
    // a dword; the mask drops them.
    for (unsigned j = 0; j < 4; ++j) {
      const __m512i v = LoadWeights(p + 2 * kRowTile + 64 * j);
      const __m512i w0 = AndOr(v, low, bit7), w1 = AndOr(_mm512_srli_epi16(v, 4), low, bit7);
      StoreBytes7(out + 2 * j * kLineBytes, AndOr(_mm512_slli_epi32(bits, 4 - j), bit4, w0), affine);
      StoreBytes7(out + (8 + 2 * j) * kLineBytes, AndOr(_mm512_srli_epi32(bits, j), bit4, w1), affine);
    }
  }
};

}  // namespace

constinit const MatmulKernel matmul_q5_k = {ActFormat::kBF16, MatmulBf16<Q5K, float>,
                                            MatmulBf16<Q5K, double>};

}  // namespace onecopy::kernels::amx
