// Q4_1: 32 columns in 20 bytes. d f16, m f16, then columns c in the low and 16 + c in the high nibble of byte c;
// value d * q + m.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ4_1(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, blocks += 20, out += 32) {
    const float d = LoadF16(blocks), m = LoadF16(blocks + 2);
    const uint8_t* q = blocks + 4;
    for (int c = 0; c < 16; ++c) {
      out[c] = static_cast<float>(q[c] & 15) * d + m;
      out[c + 16] = static_cast<float>(q[c] >> 4) * d + m;
    }
  }
}

}  // namespace onecopy::kernels
