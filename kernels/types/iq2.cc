// IQ2_XXS, IQ2_XS, IQ2_S: 256 columns in 66, 74, 82 bytes; eight columns are an entry of a codebook with signs. d f16 first;
// value d * (1/2 + s) / 4 * grid.
//   IQ2_XXS  per 32 columns two dwords: four 8-bit indices; four times 7 sign bits, then s of 4 bits
//   IQ2_XS   per 8 columns a word: index of 9 bits, 7 sign bits. Then s, a nibble per 16 columns
//   IQ2_S    per 8 columns a byte of index; then a byte of signs each; then 2 high bits of index each; then s as IQ2_XS
// A packed unit: four (low) bytes of index; IQ2_S their high bits, a pair each; IQ2_XS, IQ2_S the nibbles s; a dword of signs
// (iq_signs.h), whose free bits are bits 0, 2, 1, 3 of s (IQ2_XXS) or the high bits of the indices (IQ2_XS).
#include <cstring>

#include "kernels/types/half.h"
#include "kernels/types/iq_grids.h"
#include "kernels/types/iq_signs.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

float Scale2(const uint8_t* header, uint32_t s) {
  return LoadF16(header) * (0.5f + static_cast<float>(s)) * 0.25f;
}

void TakeXXS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 8 * unit, 4);
  const uint32_t word = LoadU32(block + 6 + 8 * unit);
  const uint32_t signs = PackedSevenSigns(word, SwapMiddleBits(word >> 28));
  std::memcpy(out + 4, &signs, 4);
}
void DecodeXXS(const uint8_t* header, const uint8_t* unit, float* out) {
  const uint32_t word = LoadU32(unit + 4), signs = EvenSigns(word);
  const float scale = Scale2(header, SwapMiddleBits(FreeBits(word)));
  for (size_t i = 0; i < 4; ++i) DecodeEntry<8>(kGridIQ2XXS.entries[unit[i]], signs, 8 * i, scale, out);
}

void TakeXS(const uint8_t* block, size_t unit, uint8_t* out) {
  uint32_t signs = 0, high = 0;
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t word = LoadU16(block + 2 + 8 * unit + 2 * i);
    out[i] = static_cast<uint8_t>(word);
    high |= ((word >> 8) & 1) << i;
    signs |= (word >> 9) << (7 * i);
  }
  out[4] = block[66 + unit];
  signs = PackedSevenSigns(signs, high);
  std::memcpy(out + 5, &signs, 4);
}
void DecodeXS(const uint8_t* header, const uint8_t* unit, float* out) {
  const uint32_t word = LoadU32(unit + 5), signs = EvenSigns(word), high = FreeBits(word);
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t index = unit[i] | ((high >> i) & 1) << 8;
    const float scale = Scale2(header, (unit[4] >> (4 * (i / 2))) & 15u);
    DecodeEntry<8>(kGridIQ2XS.entries[index], signs, 8 * i, scale, out);
  }
}

void TakeS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 4 * unit, 4);
  out[4] = block[66 + unit];
  out[5] = block[74 + unit];
  const uint32_t signs = PackedSigns(LoadU32(block + 34 + 4 * unit));
  std::memcpy(out + 6, &signs, 4);
}
void DecodeS(const uint8_t* header, const uint8_t* unit, float* out) {
  const uint32_t signs = LoadU32(unit + 6);
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t index = unit[i] | ((unit[4] >> (2 * i)) & 3u) << 8;
    const float scale = Scale2(header, (unit[5] >> (4 * (i / 2))) & 15u);
    DecodeEntry<8>(kGridIQ2S.entries[index], signs, 8 * i, scale, out);
  }
}

}  // namespace

const UnitFormat kUnitsIQ2XXS = {66, 8, 2, 8, TakeFirstHalf, TakeXXS, DecodeXXS};
const UnitFormat kUnitsIQ2XS = {74, 8, 2, 9, TakeFirstHalf, TakeXS, DecodeXS};
const UnitFormat kUnitsIQ2S = {82, 8, 2, 10, TakeFirstHalf, TakeS, DecodeS};

}  // namespace onecopy::kernels
