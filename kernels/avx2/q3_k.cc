// Q3_K x Q8: as Q6_K: weights stay unsigned (0..7), and the offset of 4 is taken off once per source block, from the sums of
// the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/bit_pairs.h"

namespace onecopy::kernels::avx2 {
namespace {

// Bit j of every byte as bit 2. The mask drops what the shift moves between bytes.
inline __m256i Bit2(__m256i bits, size_t j) {
  const int left = 2 - static_cast<int>(j);
  const __m256i bit2 = left >= 0 ? _mm256_slli_epi32(bits, left) : _mm256_srli_epi32(bits, -left);
  return _mm256_and_si256(bit2, _mm256_set1_epi8(4));
}

struct Q3K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 14 * kRowTile;

  // Two groups: each half of a unit has its scale.
  static constexpr size_t kGroup = 4;

  struct Header {
    __m256 d;
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p)}; }
  struct Scales {
    __m256i scale[2];
    __m256 offset[2];  // the same as float
  };
  static Scales ScalesAt(const uint8_t* p) {
    const __m256i s0 = LoadSigned(p), s1 = LoadSigned(p + kRowTile);
    return {{InBothWords(s0), InBothWords(s1)}, {_mm256_cvtepi32_ps(s0), _mm256_cvtepi32_ps(s1)}};
  }
  static __m256i Weights(const uint8_t* p, size_t j) {
    return _mm256_or_si256(BitPairs(p + 2 * kRowTile, j), Bit2(LoadWeights(p + 10 * kRowTile), j));
  }
  static __m256i Scale(const Scales& scales, size_t group) { return scales.scale[group]; }
  static void AddProducts(const Scales&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Scales& scales, const TokenScales& x, __m256* offsets) {
    *offsets = _mm256_fmadd_ps(scales.offset[0], x.s0, *offsets);
    *offsets = _mm256_fmadd_ps(scales.offset[1], x.s1, *offsets);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 offsets, __m256 acc) {
    return _mm256_fmadd_ps(header.d, _mm256_fnmadd_ps(_mm256_set1_ps(4.0f), offsets, products), acc);
  }
  static __m256 Term(const Header& header, const Scales& scales, __m256i sum, const TokenScales& x) {
    const __m256 offsets = _mm256_fmadd_ps(scales.offset[1], x.s1, _mm256_mul_ps(scales.offset[0], x.s0));
    const __m256 products = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    return _mm256_mul_ps(header.d, _mm256_fnmadd_ps(_mm256_set1_ps(4.0f), offsets, products));
  }

 private:
  // i8[8] to dwords.
  static __m256i LoadSigned(const uint8_t* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q3_k = MakeMatmulParts<Q3K>();

}  // namespace onecopy::kernels::avx2
