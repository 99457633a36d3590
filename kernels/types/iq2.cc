// IQ2_XXS, IQ2_XS, IQ2_S: 256 columns in 66, 74, 82 bytes; eight columns are an entry of a codebook with signs. d f16 first;
// value d * (1/2 + s) / 4 * grid.
//   IQ2_XXS  per 32 columns two dwords: four 8-bit indices; four times 7 sign bits, then s of 4 bits
//   IQ2_XS   per 8 columns a word: index of 9 bits, 7 sign bits. Then s, a nibble per 16 columns
//   IQ2_S    per 8 columns a byte of index; then a byte of signs each; then 2 high bits of index each; then s as IQ2_XS
#include <cstring>

#include "kernels/types/half.h"
#include "kernels/types/iq_grids.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

float Scale2(const uint8_t* header, uint32_t s) {
  return LoadF16(header) * (0.5f + static_cast<float>(s)) * 0.25f;
}

void TakeXXS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 8 * unit, 8);
}
void DecodeXXS(const uint8_t* header, const uint8_t* unit, float* out) {
  const uint32_t signs = LoadU32(unit + 4);
  const float scale = Scale2(header, signs >> 28);
  for (size_t i = 0; i < 4; ++i)
    DecodeGrid2(kGridIQ2XXS[unit[i]], EvenSigns((signs >> (7 * i)) & 127), scale, out + 8 * i);
}

void TakeXS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 8 * unit, 8);
  out[8] = block[66 + unit];
}
void DecodeXS(const uint8_t* header, const uint8_t* unit, float* out) {
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t word = LoadU16(unit + 2 * i);
    const float scale = Scale2(header, (unit[8] >> (4 * (i / 2))) & 15u);
    DecodeGrid2(kGridIQ2XS[word & 511], EvenSigns(word >> 9), scale, out + 8 * i);
  }
}

void TakeS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 4 * unit, 4);
  std::memcpy(out + 4, block + 34 + 4 * unit, 4);
  out[8] = block[66 + unit];
  out[9] = block[74 + unit];
}
void DecodeS(const uint8_t* header, const uint8_t* unit, float* out) {
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t index = unit[i] | ((unit[8] >> (2 * i)) & 3u) << 8;
    const float scale = Scale2(header, (unit[9] >> (4 * (i / 2))) & 15u);
    DecodeGrid2(kGridIQ2S[index], unit[4 + i], scale, out + 8 * i);
  }
}

}  // namespace

const UnitFormat kUnitsIQ2XXS = {66, 8, 2, 8, TakeFirstHalf, TakeXXS, DecodeXXS};
const UnitFormat kUnitsIQ2XS = {74, 8, 2, 9, TakeFirstHalf, TakeXS, DecodeXS};
const UnitFormat kUnitsIQ2S = {82, 8, 2, 10, TakeFirstHalf, TakeS, DecodeS};

}  // namespace onecopy::kernels
