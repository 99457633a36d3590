// IQ4_XS x Q8: as IQ4_NL; the unit's scale meets the integer sum, d is applied once per source block.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/levels.h"

namespace onecopy::kernels::avx2 {
namespace {

struct IQ4XS {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 17 * kRowTile;

  static constexpr size_t kGroup = 0;
  struct Header {
    __m256 d;
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p)}; }
  struct Scales {
    __m256i scale;
  };
  static Scales ScalesAt(const uint8_t* p) {
    return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  static __m256i Weights(const uint8_t* p, size_t j) { return Levels(p + kRowTile, j); }
  static void AddProducts(const Scales& scales, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(Scaled(scales, sum), x.d, *products);
  }
  static void AddOffsets(const Scales&, const TokenScales&, __m256*) {}
  static __m256 Finish(const Header& header, __m256 products, __m256, __m256 acc) {
    return _mm256_fmadd_ps(header.d, products, acc);
  }
  static __m256 Term(const Header& header, const Scales& scales, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(header.d, _mm256_mul_ps(Scaled(scales, sum), x.d));
  }

 private:
  static __m256 Scaled(const Scales& scales, __m256i sum) {
    return _mm256_cvtepi32_ps(_mm256_mullo_epi32(sum, scales.scale));
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq4_xs = MakeMatmulParts<IQ4XS>();

}  // namespace onecopy::kernels::avx2
