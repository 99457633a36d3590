// Q6_K x Q8: weights stay unsigned (0..63), so that products reach 2 * 63 * 127, of which two fit a 16-bit
// sum; the offset of 32 is taken off once per source block, from the sums s0 and s1 of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_parts.h"

namespace onecopy::kernels::avx2 {
namespace {

struct Q6K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 26 * kRowTile;
  static constexpr size_t kGroup = 2;

  struct Header {
    __m256 d;
  };
  struct Scales {
    __m256i scale[2];  // of the first and the last 16 columns, in both words of each row's dword
    __m256 offset[2];  // the same as float
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p)}; }
  static Scales ScalesAt(const uint8_t* p) {
    // i8 scales to the upper byte of both words of their row's dword; shifts right then extend the sign.
    const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m256i s0 = _mm256_shuffle_epi8(both, PairIndex(0)), s1 = _mm256_shuffle_epi8(both, PairIndex(8));
    return {{_mm256_srai_epi16(s0, 8), _mm256_srai_epi16(s1, 8)},
            {_mm256_cvtepi32_ps(_mm256_srai_epi32(s0, 24)), _mm256_cvtepi32_ps(_mm256_srai_epi32(s1, 24))}};
  }
  // Bits 2i, 2i + 1 of every byte become bits 4, 5. The mask drops what the shift moves between bytes.
  static __m256i Weights(const uint8_t* p, size_t j) {
    const int left = 4 - 2 * static_cast<int>(j % 4);
    const __m256i bits = LoadWeights(p + 18 * kRowTile + 32 * (j / 4));
    const __m256i bits45 = left >= 0 ? _mm256_slli_epi32(bits, left) : _mm256_srli_epi32(bits, -left);
    return _mm256_or_si256(Nibbles(p + 2 * kRowTile, j), _mm256_and_si256(bits45, _mm256_set1_epi8(48)));
  }
  static __m256i Scale(const Scales& scales, size_t group) { return scales.scale[group / 2]; }
  static void AddProducts(const Scales&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Scales& scales, const TokenScales& x, __m256* offsets) {
    *offsets = _mm256_fmadd_ps(scales.offset[0], x.s0, *offsets);
    *offsets = _mm256_fmadd_ps(scales.offset[1], x.s1, *offsets);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 offsets, __m256 acc) {
    return _mm256_fmadd_ps(header.d, _mm256_fnmadd_ps(_mm256_set1_ps(32.0f), offsets, products), acc);
  }
  static __m256 Term(const Header& header, const Scales& scales, __m256i sum, const TokenScales& x) {
    const __m256 offsets = _mm256_fmadd_ps(scales.offset[1], x.s1, _mm256_mul_ps(scales.offset[0], x.s0));
    const __m256 products = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    return _mm256_mul_ps(header.d, _mm256_fnmadd_ps(_mm256_set1_ps(32.0f), offsets, products));
  }

 private:
  // Byte shuffle that puts byte first + r above a zero byte, twice, into dword r.
  static __m256i PairIndex(int first) {
    const __m256i rows = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i byte = _mm256_add_epi32(rows, _mm256_set1_epi32(first));
    return _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi32(byte, 8), _mm256_slli_epi32(byte, 24)),
                           _mm256_set1_epi32(0x00800080));
  }
};

}  // namespace

constinit const MatmulKernel matmul_q6_k = MakeMatmulParts<Q6K>();

}  // namespace onecopy::kernels::avx2
