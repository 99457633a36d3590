// Weights to bf16, rounded to nearest even: the second operand of tdpbf16ps for 16 rows and 32 columns, 16 lines of 64
// bytes; dword r of line k has columns 2k and 2k + 1 of row r, which is nearly how the packed layout has them.
//
// A quant becomes a float without a conversion: as the upper bits of the fraction of a number between 1 and 2, which
// one FMA then scales and shifts: w = (1 + q / 256) * 256 s - (256 s + min).
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace onecopy::kernels::amx {
namespace {

constexpr size_t kRowTile = 16;
constexpr size_t kLineBytes = 64;

inline __m512i LoadWeights(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}
inline __m512 LoadF16(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// u8[16] or i8[16] to float.
inline __m512 LoadU8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
inline __m512 LoadI8(const uint8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

// w = f * scale + shift, f as above.
struct Affine {
  __m512 scale, shift;
};
// For w = s * q - min with q of kBits bits.
template <int kBits>
inline Affine MakeAffine(__m512 s, __m512 min) {
  const __m512 scale = _mm512_mul_ps(s, _mm512_set1_ps(1 << kBits));
  return {scale, _mm512_sub_ps(_mm512_setzero_ps(), _mm512_add_ps(scale, min))};
}
// For w = s * (q - offset).
template <int kBits>
inline Affine MakeAffine(__m512 s, float offset) {
  return {_mm512_mul_ps(s, _mm512_set1_ps(1 << kBits)),
          _mm512_mul_ps(s, _mm512_set1_ps(-(1 << kBits) - offset))};
}

// The field of kBits bits from bit kFrom on, scaled and shifted.
template <int kFrom, int kBits>
inline __m512 Value(__m512i v, const Affine& affine) {
  constexpr int kTo = 23 - kBits;  // the uppermost bits of the fraction
  const __m512i moved = kFrom < kTo ? _mm512_slli_epi32(v, kFrom < kTo ? kTo - kFrom : 0)
                                    : _mm512_srli_epi32(v, kFrom < kTo ? 0 : kFrom - kTo);
  const __m512i mask = _mm512_set1_epi32(((1 << kBits) - 1) << kTo), one = _mm512_set1_epi32(0x3f800000);
  constexpr int kAndOr = 0xea;  // (a & b) | c
  const __m512i f = _mm512_ternarylogic_epi32(moved, mask, one, kAndOr);
  return _mm512_fmadd_ps(_mm512_castsi512_ps(f), affine.scale, affine.shift);
}

// One line: two columns of 16 rows.
inline void StoreLine(uint8_t* out, __m512 even, __m512 odd) {
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
  const __m512i rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i index =
      _mm512_or_si512(rows, _mm512_slli_epi32(_mm512_add_epi32(rows, _mm512_set1_epi32(16)), 16));
  _mm512_store_si512(out, _mm512_permutexvar_epi16(index, halves));
}

// Four columns of 16 rows, a byte each: two lines.
inline void StoreBytes(uint8_t* out, __m512i bytes, const Affine& affine) {
  StoreLine(out, Value<0, 8>(bytes, affine), Value<8, 8>(bytes, affine));
  StoreLine(out + kLineBytes, Value<16, 8>(bytes, affine), Value<24, 8>(bytes, affine));
}

// A unit of nibbles: columns 4j.. in the low nibbles of group j, 16 + 4j.. in the high ones.
inline void StoreNibbles(uint8_t* out, const uint8_t* p, const Affine& affine) {
  for (size_t j = 0; j < 4; ++j) {
    const __m512i v = LoadWeights(p + 64 * j);
    uint8_t* low = out + 2 * j * kLineBytes;
    uint8_t* high = low + 8 * kLineBytes;
    StoreLine(low, Value<0, 4>(v, affine), Value<8, 4>(v, affine));
    StoreLine(low + kLineBytes, Value<16, 4>(v, affine), Value<24, 4>(v, affine));
    StoreLine(high, Value<4, 4>(v, affine), Value<12, 4>(v, affine));
    StoreLine(high + kLineBytes, Value<20, 4>(v, affine), Value<28, 4>(v, affine));
  }
}

}  // namespace
}  // namespace onecopy::kernels::amx
