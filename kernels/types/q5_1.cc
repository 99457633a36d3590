// Q5_1: 32 columns in 24 bytes. As Q5_0, with m f16 behind d; value d * q + m.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ5_1(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, blocks += 24, out += 32) {
    const float d = LoadF16(blocks), m = LoadF16(blocks + 2);
    const uint32_t high = LoadU32(blocks + 4);
    const uint8_t* q = blocks + 8;
    for (int c = 0; c < 16; ++c) {
      const uint32_t low_column = (q[c] & 15u) | ((high >> c) & 1) << 4;
      const uint32_t high_column = static_cast<uint32_t>(q[c] >> 4) | ((high >> (c + 16)) & 1) << 4;
      out[c] = static_cast<float>(static_cast<int>(low_column)) * d + m;
      out[c + 16] = static_cast<float>(static_cast<int>(high_column)) * d + m;
    }
  }
}

}  // namespace onecopy::kernels
