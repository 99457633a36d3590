// F32: little-endian IEEE binary32, as is.
#include <cstring>

#include "kernels/types/decoders.h"

namespace onecopy::kernels {

void DecodeF32(const uint8_t* blocks, float* out, size_t n_cols) {
  std::memcpy(out, blocks, n_cols * sizeof(float));
}

}  // namespace onecopy::kernels
