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

}  // namespace onecopy::kernels
