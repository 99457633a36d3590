// MXFP4 to bf16, which has all its values.
#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_matmul.h"

namespace onecopy::kernels::amx {
namespace {

struct MXFP4 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 17 * kRowTile;

  static void Decode(const uint8_t*, const uint8_t* p, uint8_t* out) {
    // 2^(e - 128); the two lowest are subnormal.
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    const __mmask16 lowest = _mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2));
    const __m512 half = _mm512_castsi512_ps(_mm512_mask_blend_epi32(lowest, normal, subnormal));
    const Affine affine = MakeAffine<kUnits7>(half, 12.0f);
    // kDoubledE2M1 (types/mxfp4.h) + 12, with bit 7 set.
    const __m512i table = _mm512_broadcast_i32x4(
        _mm_or_si128(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0),
                     _mm_set1_epi8(static_cast<char>(0x80))));
    const __m512i low = _mm512_set1_epi8(15);
    for (size_t j = 0; j < 4; ++j) {
      const __m512i v = LoadWeights(p + kRowTile + 64 * j);
      const __m512i w0 = _mm512_and_si512(v, low), w1 = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
      StoreBytes7(out + 2 * j * kLineBytes, _mm512_shuffle_epi8(table, w0), affine);
      StoreBytes7(out + (8 + 2 * j) * kLineBytes, _mm512_shuffle_epi8(table, w1), affine);
    }
  }
};

}  // namespace

constinit const MatmulKernel matmul_mxfp4 = MakeMatmulBf16<MXFP4>();

}  // namespace onecopy::kernels::amx
