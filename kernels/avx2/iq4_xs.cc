// IQ4_XS x Q8: as IQ4_NL; the unit's scale meets the products in madd, d is applied once per source block.
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
  static __m256i Weights(const uint8_t* p, size_t j) {
    return WidenPairs(Levels(p + kRowTile, j / 2), j % 2);
  }
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

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    const __m256 d = LoadScales(header);
    __m256 products[T];
    for (int t = 0; t < T; ++t) products[t] = _mm256_setzero_ps();
    for (size_t u = first_unit; u < first_unit + n_units; ++u, p += kUnitBytes) {
      PrefetchUnit<kUnitBytes>(p);
      __m256i sum[T];
      SignedSums<T>(p + kRowTile, x, u, LoadPairScales(p), sum);
      for (int t = 0; t < T; ++t)
        products[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t]), BroadcastF32(x[t].d + u), products[t]);
    }
    for (int t = 0; t < T; ++t) acc[t] = _mm256_fmadd_ps(d, products[t], acc[t]);
  }

 private:
  static __m256 Scaled(const Scales& scales, __m256i sum) {
    return _mm256_cvtepi32_ps(_mm256_mullo_epi32(sum, scales.scale));
  }
  // i8[8] to both words of each row's dword.
  static __m256i LoadPairScales(const uint8_t* p) {
    const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    const __m256i low = _mm256_and_si256(wide, _mm256_set1_epi32(0xffff));
    return _mm256_or_si256(low, _mm256_slli_epi32(wide, 16));
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq4_xs = MakeMatmulParts<IQ4XS>();

}  // namespace onecopy::kernels::avx2
