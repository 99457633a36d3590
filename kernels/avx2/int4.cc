// INT4 x Q8: as Q4_0, with a scale in bf16 per unit, or a scale and a zero per group of units. The zero is taken off by way
// of the sums of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/unit_scales.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Int4Bf16 : OffsetUnits<LoadBf16Scales, 8> {
  static constexpr size_t kUnitBytes = 18 * kRowTile;
  static constexpr size_t kGroup = 8;
  static __m256i Weights(const uint8_t* p, size_t j) { return Nibbles(p + 2 * kRowTile, j); }
};

template <size_t kUnits>
struct Int4 {
  static constexpr size_t kBlockUnits = kUnits;
  static constexpr size_t kHeaderBytes = 3 * kRowTile;
  static constexpr size_t kUnitBytes = 16 * kRowTile;

  static constexpr size_t kGroup = 8;

  struct Header {
    __m256 scale, zero;
  };
  static Header LoadHeader(const uint8_t* p) {
    const __m256i lower =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 2 * kRowTile)));
    const __m256i more = _mm256_slli_epi32(_mm256_and_si256(lower, _mm256_set1_epi32(0xe0)), 8);
    return {_mm256_or_ps(LoadBf16Scales(p), _mm256_castsi256_ps(more)),
            _mm256_cvtepi32_ps(_mm256_and_si256(lower, _mm256_set1_epi32(31)))};
  }
  struct Scales {};
  static Scales ScalesAt(const uint8_t*) { return {}; }
  static __m256i Weights(const uint8_t* p, size_t j) { return Nibbles(p, j); }
  static __m256i Scale(const Scales&, size_t) { return _mm256_set1_epi16(1); }
  static void AddProducts(const Scales&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Scales&, const TokenScales& x, __m256* offsets) {
    *offsets = _mm256_add_ps(*offsets, x.s);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 offsets, __m256 acc) {
    return _mm256_fmadd_ps(header.scale, _mm256_fnmadd_ps(header.zero, offsets, products), acc);
  }
  static __m256 Term(const Header& header, const Scales&, __m256i sum, const TokenScales& x) {
    const __m256 products = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    return _mm256_mul_ps(header.scale, _mm256_fnmadd_ps(header.zero, x.s, products));
  }
};

}  // namespace

constinit const MatmulKernel matmul_int4_bf16 = MakeMatmulParts<Int4Bf16>();

constinit const MatmulKernel matmul_int4_32 = MakeMatmulParts<Int4<1>>();

constinit const MatmulKernel matmul_int4_64 = MakeMatmulParts<Int4<2>>();

constinit const MatmulKernel matmul_int4_128 = MakeMatmulParts<Int4<4>>();

}  // namespace onecopy::kernels::avx2
