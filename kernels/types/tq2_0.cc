// TQ2_0: 256 columns in 66 bytes. For each half of 128 columns 32 bytes, of which byte c has columns c, 32 + c, 64 + c,
// 96 + c in two bits each; then d f16. Value d * (q - 1). A packed unit: bits 2i, 2i + 1 of byte b of dword h are column
// 4 (4h + i) + b, as in Q2_K.
#include "kernels/types/half.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

void TakeHeader(const uint8_t* block, uint8_t* header) {
  TakeFirstHalf(block + 64, header);
}
void TakeUnit(const uint8_t* block, size_t unit, uint8_t* out) {
  const uint8_t* q = block + 32 * (unit / 4);
  for (size_t i = 0; i < 8; ++i) {
    uint32_t byte = 0;
    for (size_t k = 0; k < 4; ++k)
      byte |= ((q[i / 4 * 16 + 4 * k + i % 4] >> (2 * (unit % 4))) & 3u) << (2 * k);
    out[i] = static_cast<uint8_t>(byte);
  }
}
void Decode(const uint8_t* header, const uint8_t* unit, float* out) {
  const float d = LoadF16(header);
  for (size_t c = 0; c < 32; ++c)
    out[c] = static_cast<float>(((unit[c / 16 * 4 + c % 4] >> (2 * (c / 4 % 4))) & 3) - 1) * d;
}

}  // namespace

const UnitFormat kUnitsTQ2_0 = {66, 8, 2, 8, TakeHeader, TakeUnit, Decode};

}  // namespace onecopy::kernels
