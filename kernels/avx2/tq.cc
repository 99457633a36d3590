// TQ1_0, TQ2_0, Q1_0 x Q8: weights stay unsigned (0..2; of Q1_0 0 and 2), and 1 is taken off once per source block, from the sums
// of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/bit_pairs.h"

namespace onecopy::kernels::avx2 {
namespace {

template <size_t kUnits>
struct LessOneBlock {
  static constexpr size_t kBlockUnits = kUnits;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kGroup = 8;

  struct Header {
    __m256 d;
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p)}; }
  struct Scales {};
  static Scales ScalesAt(const uint8_t*) { return {}; }
  static __m256i Scale(const Scales&, size_t) { return _mm256_set1_epi16(1); }
  static void AddProducts(const Scales&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Scales&, const TokenScales& x, __m256* offsets) {
    *offsets = _mm256_add_ps(*offsets, x.s);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 offsets, __m256 acc) {
    return _mm256_fmadd_ps(header.d, _mm256_sub_ps(products, offsets), acc);
  }
  static __m256 Term(const Header& header, const Scales&, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(header.d, _mm256_fmsub_ps(_mm256_cvtepi32_ps(sum), x.d, x.s));
  }
};

struct TQ2 : LessOneBlock<8> {
  static constexpr size_t kUnitBytes = 8 * kRowTile;
  static __m256i Weights(const uint8_t* p, size_t j) { return BitPairs(p, j); }
};

struct TQ1 : LessOneBlock<8> {
  static constexpr size_t kUnitBytes = 7 * kRowTile;
  struct Decoded {
    __m256i w[8];
    __m256i Weights(size_t j) const { return w[j]; }
    void Load(const uint8_t* p) {
      const __m256i pairs = _mm256_set1_epi32(0x00030303);
      const __m256i bytes = LoadThree(p), fourth = _mm256_and_si256(_mm256_srli_epi32(bytes, 6), pairs);
      for (size_t i = 0; i < 3; ++i) {
        const __m256i three = _mm256_and_si256(_mm256_srli_epi32(bytes, 2 * static_cast<int>(i)), pairs);
        // Byte i of `fourth` to byte 3.
        const __m256i last = _mm256_and_si256(_mm256_slli_epi32(fourth, 24 - 8 * static_cast<int>(i)),
                                              _mm256_set1_epi32(0x03000000));
        w[5 + i] = _mm256_or_si256(three, last);
      }
      __m256i fraction = LoadWeights(p + 3 * kRowTile);
      for (size_t j = 0; j < 5; ++j) {
        // 3 * fraction is 256 times this digit, and the fraction of those behind it.
        w[j] = _mm256_sub_epi8(_mm256_setzero_si256(),
                               _mm256_add_epi8(AtLeast(fraction, 86), AtLeast(fraction, 171)));
        fraction = _mm256_add_epi8(_mm256_add_epi8(fraction, fraction), fraction);
      }
    }

   private:
    // Bytes 0-2 of every row, of which each lies in a vector of its own.
    static __m256i LoadThree(const uint8_t* p) {
      __m256i of_row[3];
      for (size_t i = 0; i < 3; ++i) {
        const auto* bytes = reinterpret_cast<const __m128i*>(p + i * kRowTile);
        of_row[i] = _mm256_slli_epi32(_mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes)), 8 * static_cast<int>(i));
      }
      return _mm256_or_si256(_mm256_or_si256(of_row[0], of_row[1]), of_row[2]);
    }
    // -1 where a byte is at least `least`.
    static __m256i AtLeast(__m256i bytes, int least) {
      const __m256i bound = _mm256_set1_epi8(static_cast<char>(least));
      return _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, bound), bytes);
    }
  };
};

struct Q1 : LessOneBlock<4> {
  static constexpr size_t kUnitBytes = 4 * kRowTile;
  // Bit j of every byte as bit 1. The mask drops what the shift moves between bytes.
  static __m256i Weights(const uint8_t* p, size_t j) {
    const __m256i bits = LoadWeights(p);
    const __m256i bit1 =
        j == 0 ? _mm256_slli_epi32(bits, 1) : _mm256_srli_epi32(bits, static_cast<int>(j) - 1);
    return _mm256_and_si256(bit1, _mm256_set1_epi8(2));
  }
};

}  // namespace

constinit const MatmulKernel matmul_tq1_0 = MakeMatmulParts<TQ1>();

constinit const MatmulKernel matmul_tq2_0 = MakeMatmulParts<TQ2>();

constinit const MatmulKernel matmul_q1_0 = MakeMatmulParts<Q1>();

}  // namespace onecopy::kernels::avx2
