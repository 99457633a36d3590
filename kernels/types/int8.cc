// INT8_BF16: 32 columns in 34 bytes. Scale bf16, q i8[32]; value scale * q. Q8_0 with the scale of a bf16 model, which f16
// would round or flush to zero.
#include <algorithm>

#include "kernels/types/decoders.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeInt8BF16(const uint8_t* blocks, float* out, size_t n_cols) {
  for (size_t begin = 0; begin < n_cols; begin += 32, blocks += 34) {
    const float scale = BF16ToF32(LoadU16(blocks));
    for (size_t c = 0; c < std::min<size_t>(32, n_cols - begin); ++c)
      out[begin + c] = static_cast<float>(static_cast<int8_t>(blocks[2 + c])) * scale;
  }
}

}  // namespace onecopy::kernels
