// What the decoders, the packing and the loader of INT4 share. Re-entrant. Not for the ISA folders (see half.h).
//
// Header of INT4_32, _64 and _128, three bytes a group: the upper 16 bits of the scale as a float, then its next three bits
// over five of the zero. So a scale of f16 (ten bits of mantissa) and one of bf16 (eight of exponent) are both exact.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/types/half.h"

namespace onecopy::kernels {

inline void StoreInt4Header(float scale, uint32_t zero, uint8_t* header) {
  const auto bits = std::bit_cast<uint32_t>(scale);
  header[0] = static_cast<uint8_t>(bits >> 16);
  header[1] = static_cast<uint8_t>(bits >> 24);
  header[2] = static_cast<uint8_t>((bits >> 8 & 0xe0) | zero);
}
inline float Int4Scale(uint16_t upper, uint8_t lower) {
  return std::bit_cast<float>(static_cast<uint32_t>(upper) << 16 | static_cast<uint32_t>(lower & 0xe0) << 8);
}
inline int Int4Zero(uint8_t lower) {
  return lower & 31;
}

}  // namespace onecopy::kernels
