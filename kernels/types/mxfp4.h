// What the decoder and the packing of MXFP4 share. Re-entrant. Not for the ISA folders (see half.h).
#pragma once

#include <bit>
#include <cstdint>

namespace onecopy::kernels {

// The sixteen values of E2M1 (sign, two exponent bits, one of mantissa), doubled to be whole numbers.
inline constexpr int8_t kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(e - 128): half of the scale 2^(e - 127), which makes up for the doubled values. The two lowest are subnormal.
// E8M0's NaN, 255, is 2^127 here, as in ggml.
inline float HalfOfE8M0(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

}  // namespace onecopy::kernels
