// Q1_0: 128 columns in 18 bytes: d f16, then a bit each, of column c bit c % 8 of byte c / 8. Value d where it is set, else -d.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeQ1_0(const uint8_t* blocks, float* out, size_t n_cols) {
  for (size_t block = 0; block < n_cols / 128; ++block, blocks += 18, out += 128) {
    const float d = LoadF16(blocks);
    for (size_t c = 0; c < 128; ++c) out[c] = (blocks[2 + c / 8] >> (c % 8)) & 1 ? d : -d;
  }
}

}  // namespace onecopy::kernels
