// MXFP4: 32 columns in 17 bytes. A scale of eight exponent bits (E8M0), then columns c in the low and 16 + c in the
// high nibble of byte c; value = table[q] * scale / 2, where the table has the doubled values of E2M1. Source: OCP
// Microscaling Formats (MX) Specification 1.0, sections 5.2 and 5.4; ggml's nibble order.
#include "kernels/types/mxfp4.h"

#include "kernels/types/decoders.h"

namespace onecopy::kernels {

void DecodeMXFP4(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, blocks += 17, out += 32) {
    const float d = HalfOfE8M0(blocks[0]);
    const uint8_t* q = blocks + 1;
    for (int c = 0; c < 16; ++c) {
      out[c] = static_cast<float>(kDoubledE2M1[q[c] & 15]) * d;
      out[c + 16] = static_cast<float>(kDoubledE2M1[q[c] >> 4]) * d;
    }
  }
}

}  // namespace onecopy::kernels
