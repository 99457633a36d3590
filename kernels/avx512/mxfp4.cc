// MXFP4, NVFP4 x Q8: the sixteen doubled values, 12 too large so that none is negative, come from a table.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

constexpr int kOffset = 12;

// For NibbleSums: kDoubledE2M1 (types/mxfp4.h) + 12.
struct DoubledE2M1 {
  const __m512i table =
      _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));

  __m512i operator()(__m512i w, size_t, bool) const { return _mm512_shuffle_epi8(table, w); }
};

struct MXFP4 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 17 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = NoHeader;

  static Header LoadHeader(const uint8_t*) { return {}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStart<kOffset>(scales, x); }

  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Start<T>(x, u, sum);
    NibbleSums<T>(p + kRowTile, x, u, DoubledE2M1(), sum);
    AddUnit<T>(sum, HalfOfE8M0(p), x, u, acc);
  }

 private:
  // 2^(e - 128) for e u8[16]; the two lowest are subnormal.
  static __m512 HalfOfE8M0(const uint8_t* p) {
    const __m512i e = _mm512_cvtepu8_epi32(LoadBytes(p));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    const __mmask16 lowest = _mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(_mm512_mask_blend_epi32(lowest, normal, subnormal));
  }
};

// A scale for each half of a unit.
struct NVFP4 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kPrefetchedBytes = 0;
  using Header = NoHeader;

  static Header LoadHeader(const uint8_t*) { return {}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStarts<kOffset>(scales, x); }

  // Dwords of 16 rows: columns 0-3 and 8-11, 4-7 and 12-15, and the same from 16 on.
  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    const DoubledE2M1 values;
    const __m512i low = _mm512_set1_epi8(15);
    __m512i sum[2][T];
    for (size_t half = 0; half < 2; ++half) {
      Start<T>(x, u, sum[half], static_cast<int>(half));
      for (size_t j = 0; j < 2; ++j) {
        const __m512i both = LoadWeights(p + 2 * kRowTile + 64 * (2 * half + j));
        const size_t column = 32 * u + 16 * half + 4 * j;
        AddColumns4<T>(values(_mm512_and_si512(both, low), j, false), x, column, sum[half]);
        AddColumns4<T>(values(_mm512_and_si512(_mm512_srli_epi16(both, 4), low), j, true), x, column + 8,
                       sum[half]);
      }
    }
    AddHalves<T>(sum[0], sum[1], HalfOfE4M3(p), HalfOfE4M3(p + kRowTile), x, u, acc);
  }

 private:
  // Half of E4M3 numbers u8[16], whose sign is not looked at: they are halves of 2^-8 their size. 0x7f counts as zero.
  static __m512 HalfOfE4M3(const uint8_t* p) {
    const __m256i nan = _mm256_set1_epi16(0x7f), bytes = _mm256_cvtepu8_epi16(LoadBytes(p));
    const __mmask16 number = _mm256_cmpneq_epi16_mask(bytes, nan);
    const __m256i half = _mm256_maskz_slli_epi16(number, _mm256_and_si256(bytes, nan), 7);
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(128.0f));
  }
};

}  // namespace

constinit const MatmulKernel matmul_mxfp4 = {ActFormat::kQ8, MatmulQ8<MXFP4, float>, MatmulQ8<MXFP4, double>};

constinit const MatmulKernel matmul_nvfp4 = {ActFormat::kQ8, MatmulQ8<NVFP4, float>, MatmulQ8<NVFP4, double>};

}  // namespace onecopy::kernels::avx512
