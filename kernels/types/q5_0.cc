// Q5_0: 32 columns in 22 bytes. d f16, then a dword whose bit c is bit 4 of column c, then columns c in the low and 16 + c
// in the high nibble of byte c; value d * (q - 16).
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ5_0(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, blocks += 22, out += 32) {
    const float d = LoadF16(blocks);
    const uint32_t high = LoadU32(blocks + 2);
    const uint8_t* q = blocks + 6;
    for (int c = 0; c < 16; ++c) {
      const int low_column = (q[c] & 15) | static_cast<int>(((high >> c) & 1) << 4);
      const int high_column = (q[c] >> 4) | static_cast<int>(((high >> (c + 16)) & 1) << 4);
      out[c] = static_cast<float>(low_column - 16) * d;
      out[c + 16] = static_cast<float>(high_column - 16) * d;
    }
  }
}

}  // namespace onecopy::kernels
