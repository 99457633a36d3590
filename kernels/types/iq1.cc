// IQ1_S, IQ1_M: 256 columns in 50 and 56 bytes; eight columns are an entry of a codebook of -1, 0, 1, all shifted by 1/8 up or
// down; value d * (2 * s + 1) * (grid +- 1/8).
//   IQ1_S  d f16, then 8 bits of index per 8 columns, then a word per 32 columns: four times 3 high bits of index, s of 3
//          bits, sign of the shift
//   IQ1_M  8 bits of index per 8 columns, then a nibble each: 3 high bits of index, sign of the shift; then four words: in
//          each, s of 3 bits for four times 16 columns; their upper nibbles are d, f16, lowest first
// A packed unit: four low bytes of index; IQ1_M s, twice three bits; a word with the high bits of index, as the file has it.
#include <cstring>

#include "kernels/types/half.h"
#include "kernels/types/iq_grids.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

void DecodeGrid1(uint32_t index, bool down, float scale, float* out) {
  const float shift = down ? -0.125f : 0.125f;
  for (int i = 0; i < 8; ++i) {
    const int value = static_cast<int>((kGridIQ1.entries[index] >> (8 * i + 3)) & 3) - 1;
    out[i] = scale * (static_cast<float>(value) + shift);
  }
}

void TakeS(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 + 4 * unit, 4);
  std::memcpy(out + 4, block + 34 + 2 * unit, 2);
}
void DecodeS(const uint8_t* header, const uint8_t* unit, float* out) {
  const uint32_t word = LoadU16(unit + 4);
  const float scale = LoadF16(header) * static_cast<float>(2 * ((word >> 12) & 7) + 1);
  for (size_t i = 0; i < 4; ++i)
    DecodeGrid1(unit[i] | ((word >> (3 * i)) & 7) << 8, (word & 0x8000) != 0, scale, out + 8 * i);
}

void TakeScaleOfM(const uint8_t* block, uint8_t* header) {
  const uint8_t* words = block + 48;
  header[0] = static_cast<uint8_t>(words[1] >> 4 | (words[3] & 0xf0));
  header[1] = static_cast<uint8_t>(words[5] >> 4 | (words[7] & 0xf0));
}
void TakeM(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 4 * unit, 4);
  const uint32_t word = LoadU16(block + 48 + 2 * (unit / 2));
  out[4] = (word >> (6 * (unit % 2))) & 63;
  std::memcpy(out + 5, block + 32 + 2 * unit, 2);
}
void DecodeM(const uint8_t* header, const uint8_t* unit, float* out) {
  const float d = LoadF16(header);
  const uint32_t word = LoadU16(unit + 5);
  for (size_t i = 0; i < 4; ++i) {
    const uint32_t nibble = (word >> (4 * i)) & 15u;
    const float scale = d * static_cast<float>(2 * ((unit[4] >> (3 * (i / 2))) & 7) + 1);
    DecodeGrid1(unit[i] | (nibble & 7) << 8, (nibble & 8) != 0, scale, out + 8 * i);
  }
}

}  // namespace

const UnitFormat kUnitsIQ1S = {50, 8, 2, 6, TakeFirstHalf, TakeS, DecodeS};
const UnitFormat kUnitsIQ1M = {56, 8, 2, 7, TakeScaleOfM, TakeM, DecodeM};

}  // namespace onecopy::kernels
