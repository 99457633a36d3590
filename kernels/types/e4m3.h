// FP8 E4M3 (sign, four exponent bits of bias 7, three of mantissa; no infinity), exact. Source: Micikevicius et al. 2022,
// arXiv 2209.05433, section 3; the "FN" form of safetensors' F8_E4M3. Re-entrant. Not for the ISA folders (see half.h).
#pragma once

#include <bit>
#include <cstdint>

namespace onecopy::kernels {

// The two codes that are no number.
inline bool IsNanE4M3(uint8_t code) {
  return (code & 0x7f) == 0x7f;
}

inline float E4M3ToF32(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80) << 24;
  const uint32_t magnitude = code & 0x7f;
  if (IsNanE4M3(code)) return std::bit_cast<float>(sign | 0x7fc00000u);
  // Subnormals are eighths of 2^-6.
  const float value = magnitude < 8 ? static_cast<float>(magnitude) * 0x1p-9f
                                    : std::bit_cast<float>((magnitude << 20) + ((127u - 7u) << 23));
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

}  // namespace onecopy::kernels
