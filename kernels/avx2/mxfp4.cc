// MXFP4, NVFP4 x Q8: the sixteen doubled values, 12 too large so that none is negative, by a byte shuffle; the offset is taken
// off by way of the sums of the activations. Products reach 2 * 24 * 127, of which five fit a 16-bit sum.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

// kDoubledE2M1 (types/mxfp4.h) + 12, of a code in every byte.
inline __m256i DoubledE2M1(__m256i codes) {
  const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), codes);
}

struct MXFP4 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 17 * kRowTile;

  static constexpr size_t kGroup = 4;

  struct Scales {
    __m256 half_d;
  };
  static Scales ScalesAt(const uint8_t* p) { return {HalfOfE8M0(p)}; }
  static __m256i Weights(const uint8_t* p, size_t j) { return DoubledE2M1(Nibbles(p + kRowTile, j)); }
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

// A scale for each half of a unit.
struct NVFP4 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;

  static constexpr size_t kGroup = 4;

  struct Scales {
    __m256 half[2];
  };
  static Scales ScalesAt(const uint8_t* p) { return {{HalfOfE4M3(p), HalfOfE4M3(p + kRowTile)}}; }
  // Dwords of 8 rows: columns 0-3 and 8-11, 4-7 and 12-15, and the same from 16 on.
  static __m256i Weights(const uint8_t* p, size_t j) {
    const __m256i both = LoadWeights(p + 2 * kRowTile + 32 * (j / 4 * 2 + j % 2));
    const __m256i codes = j % 4 < 2 ? both : _mm256_srli_epi16(both, 4);
    return DoubledE2M1(_mm256_and_si256(codes, _mm256_set1_epi8(15)));
  }
  static __m256 FloatScale(const Scales& scales, size_t group) { return scales.half[group]; }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* acc) {
    *acc = _mm256_add_ps(*acc, Term(scales, sum, x));
  }
  static __m256 Term(const Scales& scales, __m256i sum, const TokenScales& x) {
    const __m256 sums = _mm256_fmadd_ps(scales.half[1], x.s1, _mm256_mul_ps(scales.half[0], x.s0));
    return _mm256_fmsub_ps(_mm256_castsi256_ps(sum), x.d, _mm256_mul_ps(_mm256_set1_ps(12.0f), sums));
  }

 private:
  // Half of E4M3 numbers u8[8], whose sign is not looked at: they are halves of 2^-8 their size. 0x7f counts as zero.
  static __m256 HalfOfE4M3(const uint8_t* p) {
    const __m128i nan = _mm_set1_epi16(0x7f);
    const __m128i bytes = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m128i code = _mm_and_si128(bytes, nan);
    const __m128i number = _mm_andnot_si128(_mm_cmpeq_epi16(bytes, nan), _mm_slli_epi16(code, 7));
    return _mm256_mul_ps(_mm256_cvtph_ps(number), _mm256_set1_ps(128.0f));
  }
};

}  // namespace

constinit const MatmulKernel matmul_mxfp4 = MakeMatmulParts<MXFP4>();

constinit const MatmulKernel matmul_nvfp4 = MakeMatmulParts<NVFP4>();

}  // namespace onecopy::kernels::avx2
