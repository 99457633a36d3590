// Q6_K: 256 columns in 210 bytes, as two halves of 128 columns = 4 units of 32. Low nibbles u8[128]: unit k
// of a half has the low (k < 2) or high nibbles of 32 bytes, the same for k and k + 2; two high bits u8[64]:
// bits 2k, 2k+1 of 32 bytes; scales i8[16], one per 16 columns; d f16. Value d * scale * (q - 32).
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ6K(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 256, blocks += 210) {
    const float d = LoadF16(blocks + 208);
    for (size_t unit = 0; unit < 8; ++unit, out += 32) {
      const size_t half = unit / 4, k = unit % 4;
      const uint8_t* low = blocks + 64 * half + 32 * (k % 2);
      const uint8_t* high = blocks + 128 + 32 * half;
      const uint8_t* scales = blocks + 192 + 2 * unit;
      const size_t low_shift = 4 * (k / 2), high_shift = 2 * k;
      for (int c = 0; c < 32; ++c) {
        const int q = ((low[c] >> low_shift) & 15) | (((high[c] >> high_shift) & 3) << 4);
        out[c] = d * static_cast<float>(static_cast<int8_t>(scales[c / 16])) * static_cast<float>(q - 32);
      }
    }
  }
}

}  // namespace onecopy::kernels
