// IQ1_S, IQ1_M x Q8. A value is d / 8 * (2 s + 1) * (8 g + 1 or 8 g - 1), g in -1, 0, 1. Weights are 8 (g + 1), so that none is
// negative; what is too much is taken off by way of the sums of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/codebook.h"

namespace onecopy::kernels::avx2 {
namespace {

struct IQ1Block {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;

  struct Header {
    __m256 d;
  };
  static Header LoadHeader(const uint8_t* p) {
    return {_mm256_mul_ps(LoadScales(p), _mm256_set1_ps(0.125f))};
  }
  template <class Scales>
  static void AddProducts(const Scales&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 offsets, __m256 acc) {
    return _mm256_fmadd_ps(header.d, _mm256_sub_ps(products, offsets), acc);
  }
  struct Weights8 {
    __m256i w[8];
    __m256i Weights(size_t j) const { return w[j]; }
  };
};

// Columns 8i … 8i + 7, whose indices have their low bytes at p and the others already in place.
[[gnu::always_inline]] inline void LookUpIQ1(const uint8_t* p, __m128i high, __m256i* out) {
  const __m128i bits = _mm_and_si128(high, _mm_set1_epi16(0x700));
  LookUp(kGridIQ1.entries, WordIndices(_mm_or_si128(LoadRowWords(p), bits)), out);
}

// The shift is the unit's, so it is part of the offset. Eight products reach 8 * 2 * 16 * 127, which fits a 16-bit sum.
struct IQ1S : IQ1Block {
  static constexpr size_t kUnitBytes = 6 * kRowTile;
  static constexpr size_t kGroup = 8;

  struct Scales {
    __m256i scale;
    __m256 offset;  // (2 s + 1) * (7 or 9)
  };
  static Scales ScalesAt(const uint8_t* p) {
    const __m256i word = _mm256_cvtepu16_epi32(LoadWords(p));
    const __m256i s = _mm256_and_si256(_mm256_srli_epi32(word, 12), _mm256_set1_epi32(7));
    const __m256i down = _mm256_and_si256(_mm256_srli_epi32(word, 14), _mm256_set1_epi32(2));
    const __m256i scale = OddScale(s);
    const __m256i offset = _mm256_madd_epi16(scale, _mm256_add_epi32(down, _mm256_set1_epi32(7)));
    return {scale, _mm256_cvtepi32_ps(offset)};
  }
  struct Decoded : Weights8 {
    void Load(const uint8_t* p) {
      const __m128i word = LoadWords(p);
      LookUpIQ1(p, _mm_slli_epi16(word, 8), w);
      LookUpIQ1(p + kRowTile, _mm_slli_epi16(word, 5), w + 2);
      LookUpIQ1(p + 2 * kRowTile, _mm_slli_epi16(word, 2), w + 4);
      LookUpIQ1(p + 3 * kRowTile, _mm_srli_epi16(word, 1), w + 6);
    }
  };
  static __m256i Scale(const Scales& scales, size_t) { return scales.scale; }
  static void AddOffsets(const Scales& scales, const TokenScales& x, __m256* offsets) {
    *offsets = _mm256_fmadd_ps(scales.offset, x.s, *offsets);
  }
  static __m256 Term(const Header& header, const Scales& scales, __m256i sum, const TokenScales& x) {
    const __m256 products = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    return _mm256_mul_ps(header.d, _mm256_fnmadd_ps(scales.offset, x.s, products));
  }

 private:
  static __m128i LoadWords(const uint8_t* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 4 * kRowTile));
  }
};

// A shift for eight columns: 2 is added to the weights that go up, and 9 is taken off all.
struct IQ1M : IQ1Block {
  static constexpr size_t kUnitBytes = 7 * kRowTile;
  static constexpr size_t kGroup = 4;  // each half of a unit has its scale

  struct Scales {
    __m256i scale[2];
    __m256 offset[2];
  };
  static Scales ScalesAt(const uint8_t* p) {
    const __m256i both = LoadRows(p + 4 * kRowTile);
    const __m256i s0 = OddScale(_mm256_and_si256(both, _mm256_set1_epi32(7)));
    const __m256i s1 = OddScale(_mm256_srli_epi32(both, 3));
    const __m256i nine = _mm256_set1_epi32(9);
    return {
        {s0, s1},
        {_mm256_cvtepi32_ps(_mm256_madd_epi16(s0, nine)), _mm256_cvtepi32_ps(_mm256_madd_epi16(s1, nine))}};
  }
  struct Decoded : Weights8 {
    void Load(const uint8_t* p) {
      const __m128i word = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 5 * kRowTile));
      const __m256i nibbles = _mm256_cvtepu16_epi32(word);
      LookUpIQ1(p, _mm_slli_epi16(word, 8), w);
      LookUpIQ1(p + kRowTile, _mm_slli_epi16(word, 4), w + 2);
      LookUpIQ1(p + 2 * kRowTile, word, w + 4);
      LookUpIQ1(p + 3 * kRowTile, _mm_srli_epi16(word, 4), w + 6);
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; ++i) {
        // The highest bit of nibble i, to all bits.
        const __m256i down = _mm256_srai_epi32(_mm256_slli_epi32(nibbles, 28 - 4 * static_cast<int>(i)), 31);
        const __m256i up = _mm256_andnot_si256(down, _mm256_set1_epi8(2));
        w[2 * i] = _mm256_add_epi8(w[2 * i], up);
        w[2 * i + 1] = _mm256_add_epi8(w[2 * i + 1], up);
      }
    }
  };
  static __m256i Scale(const Scales& scales, size_t group) {
    return scales.scale[group];
  }
  static void AddOffsets(const Scales& scales, const TokenScales& x, __m256* offsets) {
    *offsets = _mm256_fmadd_ps(scales.offset[0], x.s0, *offsets);
    *offsets = _mm256_fmadd_ps(scales.offset[1], x.s1, *offsets);
  }
  static __m256 Term(const Header& header, const Scales& scales, __m256i sum, const TokenScales& x) {
    const __m256 offsets = _mm256_fmadd_ps(scales.offset[1], x.s1, _mm256_mul_ps(scales.offset[0], x.s0));
    const __m256 products = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d);
    return _mm256_mul_ps(header.d, _mm256_sub_ps(products, offsets));
  }
};

}  // namespace

constinit const MatmulKernel matmul_iq1_s = MakeMatmulParts<IQ1S>();

constinit const MatmulKernel matmul_iq1_m = MakeMatmulParts<IQ1M>();

}  // namespace onecopy::kernels::avx2
