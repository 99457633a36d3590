// BF16: the upper half of a little-endian IEEE binary32.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeBF16(const uint8_t* blocks, float* out, size_t n_cols) {
  for (size_t i = 0; i < n_cols; ++i) out[i] = BF16ToF32(LoadU16(blocks + 2 * i));
}

}  // namespace onecopy::kernels
