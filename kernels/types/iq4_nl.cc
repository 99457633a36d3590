// IQ4_NL: 32 columns in 18 bytes, as Q4_0, but a nibble is one of sixteen levels; value d * level[q].
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"
#include "kernels/types/iq4.h"

namespace onecopy::kernels {

void DecodeIQ4NL(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, blocks += 18, out += 32) {
    const float d = LoadF16(blocks);
    const uint8_t* q = blocks + 2;
    for (int c = 0; c < 16; ++c) {
      out[c] = d * static_cast<float>(kLevelsIQ4[q[c] & 15]);
      out[c + 16] = d * static_cast<float>(kLevelsIQ4[q[c] >> 4]);
    }
  }
}

}  // namespace onecopy::kernels
