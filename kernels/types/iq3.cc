// IQ3_XXS, IQ3_S: 256 columns in 98 and 110 bytes; four columns are an entry of a codebook with signs. d f16 first, then 64
// indices of 8 bits.
//   IQ3_XXS  then per 32 columns a dword: four times 7 sign bits of eight columns, s of 4 bits; value d * (1/2 + s) / 2 * grid
//   IQ3_S    then per 32 columns a byte of ninth bits; then a bit of sign per column; then s, a nibble per 32 columns;
//            value d * (1 + 2 * s) * grid
// A packed unit: eight (low) bytes of index; IQ3_S a byte of ninth bits and s; a dword of signs (iq_signs.h), whose free bits are
// those of s as in IQ2_XXS (IQ3_XXS).
#include <cstring>

#include "kernels/types/half.h"
#include "kernels/types/iq_grids.h"
#include "kernels/types/iq_signs.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

void TakeXXS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 8 * unit, 8);
  const uint32_t word = LoadU32(block + 66 + 4 * unit);
  const uint32_t signs = PackedSevenSigns(word, SwapMiddleBits(word >> 28));
  std::memcpy(out + 8, &signs, 4);
}
void DecodeXXS(const uint8_t* header, const uint8_t* unit, float* out) {
  const uint32_t word = LoadU32(unit + 8), signs = EvenSigns(word);
  const uint32_t s = SwapMiddleBits(FreeBits(word));
  const float scale = LoadF16(header) * (0.5f + static_cast<float>(s)) * 0.5f;
  for (size_t i = 0; i < 8; ++i) DecodeEntry<4>(kGridIQ3XXS.entries[unit[i]], signs, 4 * i, scale, out);
}

void TakeS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 8 * unit, 8);
  out[8] = block[66 + unit];
  out[9] = (block[106 + unit / 2] >> (4 * (unit % 2))) & 15;
  const uint32_t signs = PackedSigns(LoadU32(block + 74 + 4 * unit));
  std::memcpy(out + 10, &signs, 4);
}
void DecodeS(const uint8_t* header, const uint8_t* unit, float* out) {
  const uint32_t signs = LoadU32(unit + 10);
  const float scale = LoadF16(header) * static_cast<float>(1 + 2 * unit[9]);
  for (size_t i = 0; i < 8; ++i) {
    const uint32_t index = unit[i] | ((unit[8] >> i) & 1u) << 8;
    DecodeEntry<4>(kGridIQ3S.entries[index], signs, 4 * i, scale, out);
  }
}

}  // namespace

const UnitFormat kUnitsIQ3XXS = {98, 8, 2, 12, TakeFirstHalf, TakeXXS, DecodeXXS};
const UnitFormat kUnitsIQ3S = {110, 8, 2, 14, TakeFirstHalf, TakeS, DecodeS};

}  // namespace onecopy::kernels
