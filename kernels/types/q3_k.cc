// Q3_K: 256 columns in 110 bytes. 32 bytes, of which bit u of byte c is bit 2 of column 32 * u + c; then bits 0-1 as in Q2_K;
// then twelve bytes of scales per 16 columns; then d f16. Value d * s * (q - 4).
#include "kernels/types/q3_k.h"

#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ3K(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 256, blocks += 110) {
    const float d = LoadF16(blocks + 108);
    for (size_t i = 0; i < 16; ++i, out += 16) {
      const float scale = d * static_cast<float>(ScaleOfQ3K(blocks + 96, i));
      const uint8_t* high = blocks + 16 * (i % 2);
      const uint8_t* q = blocks + 32 + 32 * (i / 8) + 16 * (i % 2);
      const size_t unit = i / 2, shift = 2 * (unit % 4);
      for (int c = 0; c < 16; ++c) {
        const int value = ((q[c] >> shift) & 3) | ((high[c] >> unit) & 1) << 2;
        out[c] = scale * static_cast<float>(value - 4);
      }
    }
  }
}

}  // namespace onecopy::kernels
