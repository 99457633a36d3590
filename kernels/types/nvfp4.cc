// NVFP4: 64 columns in 36 bytes. Four scales of 16 columns in E4M3 without sign, then eight bytes for each sixteen: columns c
// in the low and 8 + c in the high nibble of byte c; value = scale / 2 * table of doubled E2M1. Source: ggml's block; OCP
// 8-bit Floating Point Specification, E4M3.
#include <bit>
#include <cstring>

#include "kernels/types/mxfp4.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

// Half of an E4M3 scale; its NaN, 0x7f, counts as zero, as in ggml. The sign bit is not looked at.
float HalfOfE4M3(uint8_t byte) {
  const uint32_t exponent = (byte >> 3) & 15u, fraction = byte & 7u;
  if (byte == 0x7f) return 0.0f;
  if (exponent == 0) return static_cast<float>(fraction) * 0x1p-10f;
  return std::bit_cast<float>((exponent + 127 - 7 - 1) << 23 | fraction << 20);
}

void TakeUnit(const uint8_t* block, size_t unit, uint8_t* out) {
  std::memcpy(out, block + 2 * unit, 2);
  std::memcpy(out + 2, block + 4 + 16 * unit, 16);
}
void Decode(const uint8_t*, const uint8_t* unit, float* out) {
  for (size_t half = 0; half < 2; ++half) {
    const float scale = HalfOfE4M3(unit[half]);
    for (size_t c = 0; c < 8; ++c) {
      const uint8_t q = unit[2 + 8 * half + c];
      out[16 * half + c] = static_cast<float>(kDoubledE2M1[q & 15]) * scale;
      out[16 * half + 8 + c] = static_cast<float>(kDoubledE2M1[q >> 4]) * scale;
    }
  }
}

}  // namespace

const UnitFormat kUnitsNVFP4 = {36, 2, 0, 18, nullptr, TakeUnit, Decode};

}  // namespace onecopy::kernels
