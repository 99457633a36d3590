// Q4_0: 32 columns in 18 bytes. d f16, then columns c in the low and 16 + c in the high nibble of byte c;
// value d * (q - 8).
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ4_0(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, blocks += 18, out += 32) {
    const float d = LoadF16(blocks);
    const uint8_t* q = blocks + 2;
    for (int c = 0; c < 16; ++c) {
      out[c] = static_cast<float>((q[c] & 15) - 8) * d;
      out[c + 16] = static_cast<float>((q[c] >> 4) - 8) * d;
    }
  }
}

}  // namespace onecopy::kernels
