// The twelve bytes of 6-bit scales of a Q3_K block, unpacked. Not for the ISA folders (see half.h).
#pragma once

#include <cstddef>
#include <cstdint>

namespace onecopy::kernels {

// Scale of columns 16 * i …, -32 … 31: the lower four bits of 0-7 in the low and of 8-15 in the high nibbles of the first
// eight bytes, the upper two of i in bits 2 * (i / 4) of byte 8 + i % 4 (ggml-quants.c, dequantize_row_q3_K).
inline int ScaleOfQ3K(const uint8_t* packed, size_t i) {
  const int low = (packed[i % 8] >> (4 * (i / 8))) & 15;
  const int high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
  return (low | high << 4) - 32;
}

}  // namespace onecopy::kernels
