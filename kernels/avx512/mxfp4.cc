// MXFP4 x Q8: the sixteen doubled values, 12 too large so that none is negative, come from a table.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

struct MXFP4 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 17 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = NoHeader;

  static Header LoadHeader(const uint8_t*) { return {}; }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStart<12>(scales, x); }

  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Start<T>(x, u, sum);
    // kDoubledE2M1 (types/mxfp4.h) + 12.
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    NibbleSums<T>(
        p + kRowTile, x, u, [&](__m512i w, size_t, bool) { return _mm512_shuffle_epi8(table, w); }, sum);
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

}  // namespace

constinit const MatmulKernel matmul_mxfp4 = {ActFormat::kQ8, MatmulQ8<MXFP4, float>, MatmulQ8<MXFP4, double>};

}  // namespace onecopy::kernels::avx512
