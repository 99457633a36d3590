// F8_E4M3 with scales: 128 columns in 132 bytes, a scale f32 and then a code a column; value = scale * code. Files have
// one scale per block of 128 x 128 weights, per row or per tensor; a block here repeats it.
#include <algorithm>

#include "kernels/types/decoders.h"
#include "kernels/types/e4m3.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

void DecodeF8E4M3(const uint8_t* blocks, float* out, size_t n_cols) {
  for (size_t begin = 0; begin < n_cols; begin += 128, blocks += 132) {
    const float scale = std::bit_cast<float>(LoadU32(blocks));
    const size_t n = std::min<size_t>(128, n_cols - begin);
    for (size_t c = 0; c < n; ++c) out[begin + c] = E4M3ToF32(blocks[4 + c]) * scale;
  }
}

}  // namespace onecopy::kernels
