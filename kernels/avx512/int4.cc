// INT4 x Q8: as Q4_0, with a scale in bf16 per unit, or a scale and a zero per group of units (pack/int4.cc). The zero is taken
// off by way of the sums of the activations.
#include "kernels/avx512/avx512.h"
#include "kernels/avx512/unit_scales.h"

namespace onecopy::kernels::avx512 {
namespace {

struct Int4Bf16 : OffsetUnits<LoadBf16, 8> {
  template <int T>
  static void Unit(const NoHeader&, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    AddNibbles<T>(p, x, u, AsTheyAre(), acc);
  }
};

template <size_t kUnits>
struct Int4 {
  static constexpr size_t kBlockUnits = kUnits;
  static constexpr size_t kHeaderBytes = 3 * kRowTile;
  static constexpr size_t kUnitBytes = 16 * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  struct Header {
    __m512 scale, min;
  };

  static Header LoadHeader(const uint8_t* p) {
    const __m512i lower = _mm512_cvtepu8_epi32(LoadBytes(p + 2 * kRowTile));
    const __m512i more = _mm512_slli_epi32(_mm512_and_si512(lower, _mm512_set1_epi32(0xe0)), 8);
    const __m512 scale = _mm512_or_ps(LoadBf16(p), _mm512_castsi512_ps(more));
    const __m512 zero = _mm512_cvtepi32_ps(_mm512_and_si512(lower, _mm512_set1_epi32(31)));
    return {scale, _mm512_mul_ps(scale, zero)};
  }
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareSums(scales, x); }

  template <int T>
  static void Unit(const Header& header, const uint8_t* p, const Q8Row* x, size_t u, __m512* acc) {
    __m512i sum[T];
    Clear<T>(sum);
    NibbleSums<T>(p, x, u, AsTheyAre(), sum);
    AddMinUnit<T>(sum, header.scale, header.min, x, u, acc);
  }
};

template <class Kernel>
constexpr MatmulKernel Make() {
  return {ActFormat::kQ8, MatmulQ8<Kernel, float>, MatmulQ8<Kernel, double>};
}

}  // namespace

constinit const MatmulKernel matmul_int4_bf16 = Make<Int4Bf16>();

constinit const MatmulKernel matmul_int4_32 = Make<Int4<1>>();

constinit const MatmulKernel matmul_int4_64 = Make<Int4<2>>();

constinit const MatmulKernel matmul_int4_128 = Make<Int4<4>>();

}  // namespace onecopy::kernels::avx512
