// Q2_K: 256 columns in 84 bytes. Per 16 columns a byte: scale in the low, minimum in the high nibble. Then for each half of
// 128 columns 32 bytes, of which byte c has columns c, 32 + c, 64 + c, 96 + c in two bits each. Then d, dmin f16;
// value d * s * q - dmin * m.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ2K(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 256, blocks += 84) {
    const float d = LoadF16(blocks + 80), dmin = LoadF16(blocks + 82);
    for (size_t i = 0; i < 16; ++i, out += 16) {
      const float scale = d * static_cast<float>(blocks[i] & 15);
      const float min = dmin * static_cast<float>(blocks[i] >> 4);
      const uint8_t* q = blocks + 16 + 32 * (i / 8) + 16 * (i % 2);
      const size_t shift = 2 * (i / 2 % 4);
      for (int c = 0; c < 16; ++c) out[c] = scale * static_cast<float>((q[c] >> shift) & 3) - min;
    }
  }
}

}  // namespace onecopy::kernels
