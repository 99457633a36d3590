// Q1_0: 128 columns in 18 bytes: d f16, then a bit each, of column c bit c % 8 of byte c / 8. Value d where it is set, else -d.
// A packed unit: bit j of byte b is column 4j + b.
#include "kernels/types/half.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

void TakeUnit(const uint8_t* block, size_t unit, uint8_t* out) {
  const uint8_t* bits = block + 2 + 4 * unit;
  for (size_t b = 0; b < 4; ++b) out[b] = 0;
  for (size_t c = 0; c < 32; ++c) {
    const uint32_t bit = (bits[c / 8] >> (c % 8)) & 1u;
    out[c % 4] = static_cast<uint8_t>(out[c % 4] | bit << (c / 4));
  }
}
void Decode(const uint8_t* header, const uint8_t* unit, float* out) {
  const float d = LoadF16(header);
  for (size_t c = 0; c < 32; ++c) out[c] = (unit[c % 4] >> (c / 4)) & 1 ? d : -d;
}

}  // namespace

const UnitFormat kUnitsQ1_0 = {18, 4, 2, 4, TakeFirstHalf, TakeUnit, Decode};

}  // namespace onecopy::kernels
