// Packing several rows of a tile at a time: four rows' dwords become the lanes of a vector, so that packing keeps up with
// the memory. Vectors of 16 bytes in the compiler's own notation, which any x86-64 has. Private to kernels/pack; for
// kLanes 1 (the last rows of a matrix, or tiles that four does not divide) the same in plain integers. Re-entrant.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/pack/format.h"

namespace onecopy::kernels {

// A dword of each of kLanes rows.
template <size_t kLanes>
struct LaneDwords;
template <>
struct LaneDwords<1> {
  using Type = uint32_t;
};
template <>
struct LaneDwords<4> {
  using Type __attribute__((vector_size(16))) = uint32_t;
};
template <size_t kLanes>
using Dwords = typename LaneDwords<kLanes>::Type;

// Dwords 0 … 3 behind `source` in each row; rows are row_bytes apart.
template <size_t kLanes>
inline void LoadDwords(const uint8_t* source, uint64_t row_bytes, Dwords<kLanes>* out) {
  if constexpr (kLanes == 1) {
    std::memcpy(out, source, 16);
  } else {
    using V = Dwords<4>;
    V r[4];
    for (size_t i = 0; i < 4; ++i) std::memcpy(&r[i], source + i * row_bytes, 16);
    const V a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5),
            b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
    const V c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7),
            d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
  }
}

// Stores dword `group` of rows lane … lane + kLanes - 1: quants is [groups][row_tile] dwords.
template <size_t kLanes>
inline void StoreDwords(const Dwords<kLanes>& value, size_t group, size_t row_tile, size_t lane,
                        uint8_t* quants) {
  std::memcpy(quants + 4 * (group * row_tile + lane), &value, sizeof value);
}

// Copies 16 source bytes of each row to groups first_group … first_group + 3.
template <size_t kLanes>
inline void CopyDwords(const uint8_t* source, uint64_t row_bytes, size_t first_group, size_t row_tile,
                       size_t lane, uint8_t* quants) {
  Dwords<kLanes> dwords[4];
  LoadDwords<kLanes>(source, row_bytes, dwords);
  for (size_t j = 0; j < 4; ++j) StoreDwords<kLanes>(dwords[j], first_group + j, row_tile, lane, quants);
}

// Takes the nibbles at bit `shift` (0 or 4) of 32 source bytes and stores columns c and 16 + c as one byte: groups 0-3.
template <size_t kLanes>
inline void StoreNibbles(const uint8_t* source, uint64_t row_bytes, int shift, size_t row_tile, size_t lane,
                         uint8_t* quants) {
  constexpr uint32_t kLow = 0x0f0f0f0fu;
  Dwords<kLanes> low[4], high[4];
  LoadDwords<kLanes>(source, row_bytes, low);
  LoadDwords<kLanes>(source + 16, row_bytes, high);
  for (size_t j = 0; j < 4; ++j)
    StoreDwords<kLanes>(((low[j] >> shift) & kLow) | (((high[j] >> shift) & kLow) << 4), j, row_tile, lane,
                        quants);
}

// A dword at `source` of each row, at any address.
template <size_t kLanes>
inline Dwords<kLanes> LoadDwordOfRows(const uint8_t* source, uint64_t row_bytes) {
  uint32_t dwords[kLanes];
  for (size_t l = 0; l < kLanes; ++l) std::memcpy(dwords + l, source + l * row_bytes, 4);
  Dwords<kLanes> out;
  std::memcpy(&out, dwords, sizeof out);
  return out;
}

// Bit c of a dword, which belongs to column c, to bit c / 4 of byte c % 4.
template <size_t kLanes>
inline Dwords<kLanes> ColumnBitsByByte(const Dwords<kLanes>& bits) {
  Dwords<kLanes> out = {};
  for (uint32_t b = 0; b < 4; ++b) {
    Dwords<kLanes> byte = (bits >> b) & 0x11111111u;
    byte = (byte | (byte >> 3)) & 0x03030303u;
    byte = (byte | (byte >> 6)) & 0x000f000fu;
    byte = (byte | (byte >> 12)) & 0x000000ffu;
    out |= byte << (8 * b);
  }
  return out;
}

// Takes bits shift, shift + 1 of 32 source bytes: groups first_group, first_group + 1, with bits 2i, 2i + 1 of byte b of
// dword r of group h those of column 4 (4h + i) + b.
template <size_t kLanes>
inline void StoreBitPairs(const uint8_t* source, uint64_t row_bytes, uint32_t shift, size_t first_group,
                          size_t row_tile, size_t lane, uint8_t* quants) {
  for (size_t h = 0; h < 2; ++h) {
    Dwords<kLanes> dwords[4], bits = {};
    LoadDwords<kLanes>(source + 16 * h, row_bytes, dwords);
    for (uint32_t i = 0; i < 4; ++i) bits |= ((dwords[i] >> shift) & 0x03030303u) << (2 * i);
    StoreDwords<kLanes>(bits, first_group + h, row_tile, lane, quants);
  }
}

// Packing of blocks of d f16 and 16 bytes of nibbles, which the packed unit has as they are (Q4_0, IQ4_NL).
template <size_t kLanes>
void PackNibbleBlocks(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units,
                      size_t row_tile, size_t lane, uint8_t* segment) {
  constexpr size_t kBlockBytes = 18;
  block += first_unit * kBlockBytes;
  for (size_t u = 0; u < n_units; ++u, block += kBlockBytes, segment += kBlockBytes * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) std::memcpy(segment + 2 * (lane + l), block + l * row_bytes, 2);
    CopyDwords<kLanes>(block + 2, row_bytes, 0, row_tile, lane, segment + 2 * row_tile);
  }
}

}  // namespace onecopy::kernels
