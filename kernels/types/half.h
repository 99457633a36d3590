// Scalar IEEE binary16 and bfloat16, exact, in plain integer and float operations: needs no F16C and holds
// whatever the FTZ/DAZ mode of the thread. Re-entrant. Not for the ISA folders: an inline function compiled
// there could be the copy that the linker keeps for everybody.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace onecopy::kernels {

inline uint16_t LoadU16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline uint32_t LoadU32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline float F16ToF32(uint16_t half) {
  constexpr uint32_t kExponent = 0x7c00u << 13;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  uint32_t bits = static_cast<uint32_t>(half & 0x7fffu) << 13;
  const uint32_t exponent = bits & kExponent;
  bits += (127u - 15u) << 23;
  if (exponent == kExponent) {
    bits += (128u - 16u) << 23;  // infinity, NaN
  } else if (exponent == 0) {
    // Subnormal: as the fraction of 2^-14, from which the implicit one is taken off again.
    bits =
        std::bit_cast<uint32_t>(std::bit_cast<float>(bits + (1u << 23)) - std::bit_cast<float>(113u << 23));
  }
  return std::bit_cast<float>(bits | sign);
}
inline float LoadF16(const uint8_t* p) {
  return F16ToF32(LoadU16(p));
}

// Rounded to nearest even; infinity beyond f16's range.
inline uint16_t F32ToF16(float value) {
  const auto all = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((all >> 16) & 0x8000u);
  const uint32_t bits = all & 0x7fffffffu;
  uint32_t half;
  if (bits > 0x7f800000u) {
    half = 0x7e00;  // NaN
  } else if (bits >= 0x477ff000u) {
    half = 0x7c00;
  } else if (bits < 0x38800000u) {
    // Subnormal: beside a half, a unit in the last place of float is that of f16's subnormals.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  } else {
    half = (bits - (112u << 23) + 0xfffu + ((bits >> 13) & 1)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}
inline void StoreF16(float value, uint8_t* p) {
  const uint16_t half = F32ToF16(value);
  std::memcpy(p, &half, sizeof half);
}

inline float BF16ToF32(uint16_t bf16) {
  return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16);
}

}  // namespace onecopy::kernels
