// IQ3_XXS, IQ3_S: 256 columns in 98 and 110 bytes; four columns are an entry of a codebook with signs. d f16 first, then 64
// indices of 8 bits.
//   IQ3_XXS  then per 32 columns a dword: four times 7 sign bits of eight columns, s of 4 bits; value d * (1/2 + s) / 2 * grid
//   IQ3_S    then per 32 columns a byte of ninth bits; then a bit of sign per column; then s, a nibble per 32 columns;
//            value d * (1 + 2 * s) * grid
#include <cstring>

#include "kernels/types/half.h"
#include "kernels/types/iq_grids.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

constexpr uint8_t kValuesXXS[8] = {4, 12, 20, 28, 36, 44, 52, 62};
constexpr uint8_t kValuesS[8] = {1, 3, 5, 7, 9, 11, 13, 15};

void TakeXXS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 8 * unit, 8);
  std::memcpy(out + 8, block + 66 + 4 * unit, 4);
}
void DecodeXXS(const uint8_t* header, const uint8_t* unit, float* out) {
  const uint32_t word = LoadU32(unit + 8);
  const float scale = LoadF16(header) * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
  for (size_t i = 0; i < 8; ++i) {
    const uint32_t signs = EvenSigns((word >> (7 * (i / 2))) & 127u);
    DecodeGrid3(kGridIQ3XXS[unit[i]], kValuesXXS, signs >> (4 * (i % 2)), scale, out + 4 * i);
  }
}

void TakeS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 8 * unit, 8);
  out[8] = block[66 + unit];
  std::memcpy(out + 9, block + 74 + 4 * unit, 4);
  out[13] = (block[106 + unit / 2] >> (4 * (unit % 2))) & 15;
}
void DecodeS(const uint8_t* header, const uint8_t* unit, float* out) {
  const float scale = LoadF16(header) * static_cast<float>(1 + 2 * unit[13]);
  for (size_t i = 0; i < 8; ++i) {
    const uint32_t index = unit[i] | ((unit[8] >> i) & 1u) << 8;
    const uint32_t signs = static_cast<uint32_t>(unit[9 + i / 2]) >> (4 * (i % 2));
    DecodeGrid3(kGridIQ3S[index], kValuesS, signs, scale, out + 4 * i);
  }
}

}  // namespace

const UnitFormat kUnitsIQ3XXS = {98, 8, 2, 12, TakeFirstHalf, TakeXXS, DecodeXXS};
const UnitFormat kUnitsIQ3S = {110, 8, 2, 14, TakeFirstHalf, TakeS, DecodeS};

}  // namespace onecopy::kernels
