// Weights to bf16: the second operand of tdpbf16ps for 16 rows and 32 columns, 16 lines of 64
// bytes; dword r of line k has columns 2k and 2k + 1 of row r, which is nearly how the packed layout has them.
//
// A quant becomes a float without a conversion: as part of the fraction of a number between 1 and 2, which one FMA then
// scales and shifts: with f = 1 + q / 16, w = s * q - min = f * 16 s - (16 s + min).
// What makes a float a bf16 is that its lower half is dropped. That takes half a unit in the last place on average, which
// kGain gives before: values that bf16 has stay what they are, the others are off by 0.6 units at most and by 0.04 in the
// mean, where rounding to nearest would be two additions for 32 weights, of the eight instructions that there are.
// Beside tile instructions only port 0 does 512-bit multiplications (Sapphire Rapids), as it does shifts; so bytes are moved
// by shuffles, which are port 5's.
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

// w = f * scale + shift, f as above, times kGain.
struct Affine {
  __m512 scale, shift;
};
// 11 bits, so that a scale in f16 times it and an offset of a few bits is exact, and a weight of zero is zero.
constexpr float kGain = 1 + 0x1p-9f + 0x1p-10f;
inline __m512 Gain(__m512 x) {
  return _mm512_mul_ps(x, _mm512_set1_ps(kGain));
}
// For w = s * q - min, f = 1 + q / kUnits.
template <int kUnits>
inline Affine MakeAffine(__m512 s, __m512 min) {
  const __m512 scale = _mm512_mul_ps(Gain(s), _mm512_set1_ps(kUnits));
  return {scale, _mm512_sub_ps(_mm512_setzero_ps(), _mm512_add_ps(scale, Gain(min)))};
}
// For w = s * (q - offset).
template <int kUnits>
inline Affine MakeAffine(__m512 s, float offset) {
  s = Gain(s);
  return {_mm512_mul_ps(s, _mm512_set1_ps(kUnits)), _mm512_mul_ps(s, _mm512_set1_ps(-kUnits - offset))};
}

// 1 to 2: byte kFrom of every dword in place of byte kTo of 1.0f.
template <int kFrom, int kTo>
inline __m512 Fraction(__m512i bytes) {
  const __m512i dwords = _mm512_set_epi8(
      12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0, 12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0,
      12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0, 12, 12, 12, 12, 8, 8, 8, 8, 4, 4, 4, 4, 0, 0, 0, 0);
  const __m512i index = _mm512_add_epi8(dwords, _mm512_set1_epi8(kFrom));
  constexpr __mmask64 kByte = 0x1111111111111111ull << kTo;
  return _mm512_castsi512_ps(_mm512_mask_shuffle_epi8(_mm512_set1_epi32(0x3f800000), kByte, bytes, index));
}

// One line: two columns of 16 rows. The upper words, by a shuffle: vcvtne2ps2bf16 would need a permutation too.
inline void StoreLine(uint8_t* out, __m512 even, __m512 odd) {
  const __m512i upper_words =
      _mm512_broadcast_i32x4(_mm_setr_epi8(2, 3, 2, 3, 6, 7, 6, 7, 10, 11, 10, 11, 14, 15, 14, 15));
  constexpr __mmask64 kLowWords = 0x3333333333333333ull;
  _mm512_store_si512(out, _mm512_mask_shuffle_epi8(_mm512_castps_si512(odd), kLowWords,
                                                   _mm512_castps_si512(even), upper_words));
}

// Four columns of 16 rows, a byte each: two lines. kTo: see Fraction.
template <int kTo>
inline void StoreColumns4(uint8_t* out, __m512i bytes, const Affine& w) {
  const auto value = [&w](__m512 f) { return _mm512_fmadd_ps(f, w.scale, w.shift); };
  StoreLine(out, value(Fraction<0, kTo>(bytes)), value(Fraction<1, kTo>(bytes)));
  StoreLine(out + kLineBytes, value(Fraction<2, kTo>(bytes)), value(Fraction<3, kTo>(bytes)));
}

// Quants of at most 7 bits with bit 7 set: as the upper part of the fraction, f = 1 + q / 128.
constexpr int kUnits7 = 128;
inline void StoreBytes7(uint8_t* out, __m512i bytes, const Affine& w) {
  StoreColumns4<2>(out, bytes, w);
}
// Quants of 8 bits: f = 1 + q / 2^15. The product with an f16 is still exact.
constexpr int kUnits8 = 1 << 15;
inline void StoreBytes8(uint8_t* out, __m512i bytes, const Affine& w) {
  StoreColumns4<1>(out, bytes, w);
}

// (a & b) | c
inline __m512i AndOr(__m512i a, __m512i b, __m512i c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0xea);
}

// A unit of nibbles as below, then a dword a row whose bytes have bit 4: bit j for columns 4j.., bit 4 + j for 16 + 4j...
// Shifts move bits between bytes of a dword; the mask drops them. f as of StoreBytes7.
inline void StoreFiveBits(uint8_t* out, const uint8_t* p, const Affine& w) {
  const __m512i low = _mm512_set1_epi8(15), bit4 = _mm512_set1_epi8(16),
                bit7 = _mm512_set1_epi8(static_cast<char>(0x80));
  const __m512i bits = LoadWeights(p + 256);
  for (unsigned j = 0; j < 4; ++j) {
    const __m512i v = LoadWeights(p + kLineBytes * j);
    const __m512i w0 = AndOr(v, low, bit7), w1 = AndOr(_mm512_srli_epi16(v, 4), low, bit7);
    StoreBytes7(out + 2 * kLineBytes * j, AndOr(_mm512_slli_epi32(bits, 4 - j), bit4, w0), w);
    StoreBytes7(out + (8 + 2 * j) * kLineBytes, AndOr(_mm512_srli_epi32(bits, j), bit4, w1), w);
  }
}

// A unit of nibbles: columns 4j.. in the low nibbles of group j, 16 + 4j.. in the high ones. f = 1 + q / 16.
constexpr int kUnits4 = 16;
inline void StoreNibbles(uint8_t* out, const uint8_t* p, const Affine& w) {
  const __m512i bits = _mm512_set1_epi8(0x78), bit7 = _mm512_set1_epi8(static_cast<char>(0x80));
  for (size_t j = 0; j < 4; ++j) {
    const __m512i v = LoadWeights(p + 64 * j);
    StoreColumns4<2>(out + 2 * j * kLineBytes, AndOr(_mm512_slli_epi32(v, 3), bits, bit7), w);
    StoreColumns4<2>(out + (8 + 2 * j) * kLineBytes, AndOr(_mm512_srli_epi32(v, 1), bits, bit7), w);
  }
}

}  // namespace
}  // namespace onecopy::kernels::amx
