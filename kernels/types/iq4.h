// What decoders and packing of IQ4_NL and IQ4_XS share. Not for the ISA folders (see half.h).
#pragma once

#include <cstdint>

namespace onecopy::kernels {

// The sixteen levels, denser around zero (ggml-common.h, kvalues_iq4nl).
inline constexpr int8_t kLevelsIQ4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

// Scales of the eight units of an IQ4_XS block, -32 … 31: `low` two nibbles a byte, `high` two bits a unit.
inline int ScaleOfIQ4XS(const uint8_t* low, uint32_t high, unsigned unit) {
  const uint32_t nibble = (low[unit / 2] >> (4 * (unit % 2))) & 15u;
  return static_cast<int>(nibble | ((high >> (2 * unit)) & 3) << 4) - 32;
}

}  // namespace onecopy::kernels
