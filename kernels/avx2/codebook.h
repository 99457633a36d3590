// Weights that are entries of a codebook (IQ1, IQ2, IQ3): looked up for 8 rows, whose indices lie side by side.
#pragma once

#include "kernels/avx2/q8_parts.h"
#include "kernels/types/iq_grids.h"

namespace onecopy::kernels::avx2 {
namespace {

// Eight bytes of eight rows to dwords, or to words.
inline __m256i LoadRows(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline __m128i LoadRowWords(const uint8_t* p) {
  return _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

// Indices of 8 rows: bytes of memory, or words of a vector. Entries are loaded one by one: a gather of eight dwords takes 4.5 ns
// (Zen 3), and this 2.5, or for entries of eight bytes 2.6; with words 3.6.
struct ByteIndices {
  const uint8_t* p;
  size_t operator[](size_t row) const { return p[row]; }
};
struct WordIndices {
  explicit WordIndices(__m128i words)
      : low(static_cast<uint64_t>(_mm_cvtsi128_si64(words))),
        high(static_cast<uint64_t>(_mm_extract_epi64(words, 1))) {}
  size_t operator[](size_t row) const {
    return static_cast<uint16_t>((row < 4 ? low : high) >> (16 * (row % 4)));
  }
  uint64_t low, high;
};

inline __m128 TwoEntries(const uint64_t* first, const uint64_t* second) {
  const __m128 low = _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(first)));
  return _mm_loadh_pi(low, reinterpret_cast<const __m64*>(second));
}

// Entries of eight columns: out[0] columns 0 … 3 of 8 rows, out[1] columns 4 … 7. As a call, IQ1_S is a quarter slower.
template <class Indices>
[[gnu::always_inline]] inline void LookUp(const uint64_t* grid, const Indices& at, __m256i* out) {
  const __m256 rows0145 = _mm256_insertf128_ps(_mm256_castps128_ps256(TwoEntries(grid + at[0], grid + at[1])),
                                               TwoEntries(grid + at[4], grid + at[5]), 1);
  const __m256 rows2367 = _mm256_insertf128_ps(_mm256_castps128_ps256(TwoEntries(grid + at[2], grid + at[3])),
                                               TwoEntries(grid + at[6], grid + at[7]), 1);
  out[0] = _mm256_castps_si256(_mm256_shuffle_ps(rows0145, rows2367, 0x88));
  out[1] = _mm256_castps_si256(_mm256_shuffle_ps(rows0145, rows2367, 0xdd));
}

// Entries of four columns.
template <class Indices>
inline __m256i LookUp(const uint32_t* grid, const Indices& at) {
  return _mm256_setr_epi32(static_cast<int>(grid[at[0]]), static_cast<int>(grid[at[1]]),
                           static_cast<int>(grid[at[2]]), static_cast<int>(grid[at[3]]),
                           static_cast<int>(grid[at[4]]), static_cast<int>(grid[at[5]]),
                           static_cast<int>(grid[at[6]]), static_cast<int>(grid[at[7]]));
}

// 2 s + 1 of dwords s, in both words of each.
inline __m256i OddScale(__m256i s) {
  const __m256i odd = _mm256_add_epi32(_mm256_add_epi32(s, s), _mm256_set1_epi32(1));
  return _mm256_or_si256(odd, _mm256_slli_epi32(odd, 16));
}

// A decoded unit of a type with signs (types/iq_signs.h).
struct SignedCodes {
  __m256i magnitudes[8];
  __m256i signs;     // bit j of byte b of a row's dword: of column 4j + b
  __m256i scale[2];  // as q8_parts.h wants them

  __m256i Magnitude(size_t j) const { return magnitudes[j]; }
  __m256i Sign(size_t j) const {
    return _mm256_or_si256(_mm256_slli_epi32(signs, 7 - static_cast<int>(j)), _mm256_set1_epi8(1));
  }
  __m256i Weights(size_t j) const { return _mm256_sign_epi8(Magnitude(j), Sign(j)); }
  __m256i Scale(size_t half) const { return scale[half]; }
};

// Signs of which every eighth (bits 1, 3, 5, 7 of byte 3) is the one with which their number is even.
inline __m256i EvenSigns(__m256i packed) {
  const __m256i free = _mm256_set1_epi32(static_cast<int>(0xaa000000u)),
                known = _mm256_andnot_si256(free, packed);
  __m256i sum = _mm256_xor_si256(known, _mm256_slli_epi32(known, 1));
  sum = _mm256_xor_si256(sum, _mm256_slli_epi32(sum, 16));
  sum = _mm256_xor_si256(sum, _mm256_slli_epi32(sum, 8));
  return _mm256_or_si256(known, _mm256_and_si256(sum, free));
}

// s in the free bits of packed signs, bits 0, 2, 1, 3.
inline void ScaleInFreeBits(__m256i packed, __m256i* scale) {
  const __m256i bits02 = _mm256_and_si256(_mm256_srli_epi32(packed, 25), _mm256_set1_epi32(5));
  const __m256i bits13 = _mm256_and_si256(_mm256_srli_epi32(packed, 28), _mm256_set1_epi32(10));
  scale[0] = scale[1] = OddScale(_mm256_or_si256(bits02, bits13));
}

// A nibble of s for each half of a unit.
inline void ScalesInNibbles(const uint8_t* p, __m256i* scale) {
  const __m256i both = LoadRows(p);
  scale[0] = OddScale(_mm256_and_si256(both, _mm256_set1_epi32(15)));
  scale[1] = OddScale(_mm256_srli_epi32(both, 4));
}

// Of Format: kUnitBytes as for one row; kFactor, of which d (2 s + 1) grid is the value; Decode(p, codes).
template <class Format>
struct Codebook {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = Format::kUnitBytes * kRowTile;
  static constexpr size_t kGroup = 0;

  struct Header {
    __m256 d;
  };
  static Header LoadHeader(const uint8_t* p) {
    return {_mm256_mul_ps(LoadScales(p), _mm256_set1_ps(Format::kFactor))};
  }
  struct Decoded : SignedCodes {
    void Load(const uint8_t* p) { Format::Decode(p, this); }
  };
  struct Scales {};
  static Scales ScalesAt(const uint8_t*) { return {}; }
  static void AddProducts(const Scales&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Scales&, const TokenScales&, __m256*) {}
  static __m256 Finish(const Header& header, __m256 products, __m256, __m256 acc) {
    return _mm256_fmadd_ps(header.d, products, acc);
  }
  static __m256 Term(const Header& header, const Scales&, __m256i sum, const TokenScales& x) {
    return _mm256_mul_ps(header.d, _mm256_mul_ps(_mm256_cvtepi32_ps(sum), x.d));
  }
};

}  // namespace
}  // namespace onecopy::kernels::avx2
