// MXFP4 x Q8: the sixteen doubled values, 12 too large so that none is negative, by a byte shuffle; the offset is taken off by
// way of the sums of the activations. Products reach 2 * 24 * 127, of which five fit a 16-bit sum.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

struct MXFP4 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 17 * kRowTile;

  static constexpr size_t kGroup = 4;

  struct Scales {
    __m256 half_d;
  };
  static Scales ScalesAt(const uint8_t* p) { return {HalfOfE8M0(p)}; }
  static __m256i Weights(const uint8_t* p, size_t j) {
    // kDoubledE2M1 (types/mxfp4.h) + 12.
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), Nibbles(p + kRowTile, j));
  }
  static __m256i Scale(const Scales&, size_t) { return _mm256_set1_epi16(1); }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    *acc = _mm256_fmadd_ps(scales.half_d, Products(sum, x), *acc);
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(scales.half_d, Products(sum, x));
  }

 private:
  static __m256 Products(__m256i sum, const TokenScales& x) {
    return _mm256_fmsub_ps(_mm256_cvtepi32_ps(sum), x.d, _mm256_mul_ps(_mm256_set1_ps(12.0f), x.s));
  }
  // 2^(e - 128) for e u8[8]; the two lowest are subnormal.
  static __m256 HalfOfE8M0(const uint8_t* p) {
    const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i lowest = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, lowest));
  }
};

}  // namespace

constinit const MatmulKernel matmul_mxfp4 = MakeMatmulParts<MXFP4>();

}  // namespace onecopy::kernels::avx2
