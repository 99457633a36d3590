// IQ3_XXS, IQ3_S x Q8. A value is d / 4 * (2 s + 1) * grid (IQ3_XXS) or d * (2 s + 1) * grid; scaled magnitudes reach 31 * 62,
// the sum of a unit 2^23.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/codebook.h"

namespace onecopy::kernels::avx2 {
namespace {

struct IQ3XXS {
  static constexpr size_t kUnitBytes = 12;
  static constexpr float kFactor = 0.25f;
  static void Decode(const uint8_t* p, SignedCodes* codes) {
    const __m256i packed = LoadWeights(p + 8 * kRowTile);
    for (size_t j = 0; j < 8; ++j)
      codes->magnitudes[j] = LookUp(kGridIQ3XXS.entries, ByteIndices{p + j * kRowTile});
    codes->signs = EvenSigns(packed);
    ScaleInFreeBits(packed, codes->scale);
  }
};

struct IQ3S {
  static constexpr size_t kUnitBytes = 14;
  static constexpr float kFactor = 1.0f;
  static void Decode(const uint8_t* p, SignedCodes* codes) {
    const __m128i high = LoadRowWords(p + 8 * kRowTile);
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; ++j) {
      const __m128i bit8 = _mm_and_si128(_mm_slli_epi16(high, 8 - static_cast<int>(j)), _mm_set1_epi16(256));
      const WordIndices at(_mm_or_si128(LoadRowWords(p + j * kRowTile), bit8));
      codes->magnitudes[j] = LookUp(kGridIQ3S.entries, at);
    }
    codes->signs = LoadWeights(p + 10 * kRowTile);
    codes->scale[0] = codes->scale[1] = OddScale(LoadRows(p + 9 * kRowTile));
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq3_xxs = MakeMatmulParts<Codebook<IQ3XXS>>();

constinit const MatmulKernel matmul_iq3_s = MakeMatmulParts<Codebook<IQ3S>>();

}  // namespace onecopy::kernels::avx2
