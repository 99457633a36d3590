// Signs of IQ2 and IQ3 in the order in which a packed unit has them: bit j of byte b of a dword is set where the value of column
// 4j + b is negative. Some types store seven of eight, since the number of ones is even; the bits of columns 7, 15, 23 and 31
// are then free for something else. Re-entrant. Not for the ISA folders (half.h).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace onecopy::kernels {

// Of eight columns, from bit c for column c, in the place of the first eight. The product has bits 0-3 in bytes of their own.
inline uint32_t PackedEightSigns(uint32_t signs) {
  const uint32_t first = (signs & 15) * 0x00204081u & 0x01010101u;
  const uint32_t last = (signs >> 4) * 0x00204081u & 0x01010101u;
  return first | last << 1;
}
// Of 32 columns.
inline uint32_t PackedSigns(uint32_t signs) {
  uint32_t packed = 0;
  for (int i = 0; i < 4; ++i) packed |= PackedEightSigns((signs >> (8 * i)) & 255) << (2 * i);
  return packed;
}

inline bool IsNegative(uint32_t packed, size_t col) {
  return ((packed >> (8 * (col % 4) + col / 4)) & 1) != 0;
}

// Seven signs each of four times eight columns, from the lowest bit of `signs`, and what the free bits hold: bit i in that of
// column 8i + 7.
inline uint32_t PackedSevenSigns(uint32_t signs, uint32_t free) {
  uint32_t packed = 0;
  for (int i = 0; i < 4; ++i)
    packed |= PackedEightSigns(((signs >> (7 * i)) & 127) | ((free >> i) & 1) << 7) << (2 * i);
  return packed;
}
inline uint32_t FreeBits(uint32_t packed) {
  uint32_t free = 0;
  for (int i = 0; i < 4; ++i) free |= ((packed >> (25 + 2 * i)) & 1) << i;
  return free;
}
// Swaps bits 1 and 2 of four. Bits 0, 2, 1, 3 of a scale in the free bits are two and two at their distance in the scale, so
// that a kernel needs two shifts.
inline uint32_t SwapMiddleBits(uint32_t four) {
  return (four & 9) | (four & 2) << 1 | (four & 4) >> 1;
}
// All signs: with the eighth in the place of the free bits.
inline uint32_t EvenSigns(uint32_t packed) {
  packed &= 0x55ffffffu;
  for (int i = 0; i < 4; ++i)
    packed |= (static_cast<uint32_t>(std::popcount(packed & 0x03030303u << (2 * i))) & 1) << (25 + 2 * i);
  return packed;
}

// kCols columns from first_col on: their magnitudes as the bytes of a codebook's entry, times scale, with their signs.
template <size_t kCols>
inline void DecodeEntry(uint64_t entry, uint32_t packed_signs, size_t first_col, float scale, float* out) {
  for (size_t i = 0; i < kCols; ++i) {
    const float value = scale * static_cast<float>((entry >> (8 * i)) & 255);
    out[first_col + i] = IsNegative(packed_signs, first_col + i) ? -value : value;
  }
}

}  // namespace onecopy::kernels
