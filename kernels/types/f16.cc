// F16: little-endian IEEE binary16.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeF16(const uint8_t* blocks, float* out, size_t n_cols) {
  for (size_t i = 0; i < n_cols; ++i) out[i] = LoadF16(blocks + 2 * i);
}

}  // namespace onecopy::kernels
