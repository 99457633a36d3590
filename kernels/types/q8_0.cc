// Q8_0: 32 columns in 34 bytes. d f16, q i8[32]; value d * q.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ8_0(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, blocks += 34, out += 32) {
    const float d = LoadF16(blocks);
    for (int c = 0; c < 32; ++c) out[c] = static_cast<float>(static_cast<int8_t>(blocks[2 + c])) * d;
  }
}

}  // namespace onecopy::kernels
