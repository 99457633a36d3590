// IQ2_XXS, IQ2_XS, IQ2_S x Q8. A value is d / 8 * (2 s + 1) * grid; scaled magnitudes reach 31 * 43, the sum of a unit 2^23.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/codebook.h"

namespace onecopy::kernels::avx2 {
namespace {

struct IQ2XXS {
  static constexpr size_t kUnitBytes = 8;
  static constexpr float kFactor = 0.125f;
  static void Decode(const uint8_t* p, SignedCodes* codes) {
    const __m256i packed = LoadWeights(p + 4 * kRowTile);
    for (size_t i = 0; i < 4; ++i)
      LookUp(kGridIQ2XXS.entries, ByteIndices{p + i * kRowTile}, codes->magnitudes + 2 * i);
    codes->signs = EvenSigns(packed);
    ScaleInFreeBits(packed, codes->scale);
  }
};

struct IQ2XS {
  static constexpr size_t kUnitBytes = 9;
  static constexpr float kFactor = 0.125f;
  static void Decode(const uint8_t* p, SignedCodes* codes) {
    const __m256i packed = LoadWeights(p + 5 * kRowTile);
    // Bytes 3 of the rows: bit 2i + 1 is bit 8 of index i.
    const __m256i last = _mm256_packus_epi32(_mm256_srli_epi32(packed, 24), _mm256_srli_epi32(packed, 24));
    const __m128i high = _mm256_castsi256_si128(_mm256_permute4x64_epi64(last, 0x08));
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {
      const __m128i bit8 =
          _mm_and_si128(_mm_slli_epi16(high, 7 - 2 * static_cast<int>(i)), _mm_set1_epi16(256));
      const WordIndices at(_mm_or_si128(LoadRowWords(p + i * kRowTile), bit8));
      LookUp(kGridIQ2XS.entries, at, codes->magnitudes + 2 * i);
    }
    codes->signs = EvenSigns(packed);
    ScalesInNibbles(p + 4 * kRowTile, codes->scale);
  }
};

struct IQ2S {
  static constexpr size_t kUnitBytes = 10;
  static constexpr float kFactor = 0.125f;
  static void Decode(const uint8_t* p, SignedCodes* codes) {
    const __m128i high = LoadRowWords(p + 4 * kRowTile);
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {
      const __m128i bits89 =
          _mm_and_si128(_mm_slli_epi16(high, 8 - 2 * static_cast<int>(i)), _mm_set1_epi16(0x300));
      const WordIndices at(_mm_or_si128(LoadRowWords(p + i * kRowTile), bits89));
      LookUp(kGridIQ2S.entries, at, codes->magnitudes + 2 * i);
    }
    codes->signs = LoadWeights(p + 6 * kRowTile);
    ScalesInNibbles(p + 5 * kRowTile, codes->scale);
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq2_xxs = MakeMatmulParts<Codebook<IQ2XXS>>();

constinit const MatmulKernel matmul_iq2_xs = MakeMatmulParts<Codebook<IQ2XS>>();

constinit const MatmulKernel matmul_iq2_s = MakeMatmulParts<Codebook<IQ2S>>();

}  // namespace onecopy::kernels::avx2
