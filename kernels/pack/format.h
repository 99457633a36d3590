// PackFormat: how one quantised type lies in the packed layout (pack.h), as numbers and two functions; one
// file per type in this folder. Re-entrant. Private to kernels/, and not for the ISA folders.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/pack.h"
#include "kernels/types/half.h"

namespace onecopy::kernels {

// Units (32 columns) that the packing code treats at a time: one source block where the type has a header. Without
// headers, and then with blocks of one unit, eight blocks in a row lie exactly as one segment would.
inline constexpr uint32_t kSegmentUnits = 8;
inline constexpr uint32_t kSegmentCols = kSegmentUnits * kUnitCols;

struct PackFormat {
  uint32_t header_bytes;  // of a segment, per row
  uint32_t unit_bytes;    // of a unit, per row
  uint32_t
      segment_bytes;  // in the file, of one row: of a source block, or of kSegmentUnits units without headers
  // Writes units [first_unit, first_unit + n_units) of `block` as row `lane` of a tile of `row_tile` rows to `segment`.
  using PackFn = void (*)(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units,
                          size_t row_tile, size_t lane, uint8_t* segment);
  PackFn pack;
  // The same for rows lane … lane + 3, whose blocks are row_bytes apart.
  PackFn pack4;
  // Decodes row `lane` of such a segment to out[32 * n_units], with the float operations of the type's
  // decoder.
  void (*unpack)(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out);
};

extern const PackFormat kPackQ8_0;
extern const PackFormat kPackQ4_0;
extern const PackFormat kPackQ4K;
extern const PackFormat kPackQ5K;
extern const PackFormat kPackQ6K;
extern const PackFormat kPackMXFP4;
extern const PackFormat kPackQ5_0;
extern const PackFormat kPackQ4_1;
extern const PackFormat kPackQ5_1;
extern const PackFormat kPackIQ4NL;
extern const PackFormat kPackIQ4XS;
extern const PackFormat kPackQ3K;
extern const PackFormat kPackQ2K;
extern const PackFormat kPackIQ2XXS;
extern const PackFormat kPackIQ2XS;
extern const PackFormat kPackIQ2S;
extern const PackFormat kPackIQ3XXS;
extern const PackFormat kPackIQ3S;
extern const PackFormat kPackIQ1S;
extern const PackFormat kPackIQ1M;
extern const PackFormat kPackTQ1_0;
extern const PackFormat kPackTQ2_0;
extern const PackFormat kPackNVFP4;
extern const PackFormat kPackQ1_0;
extern const PackFormat kPackF8E4M3;
extern const PackFormat kPackInt8BF16;
extern const PackFormat kPackInt4BF16;
extern const PackFormat kPackInt4_32;
extern const PackFormat kPackInt4_64;
extern const PackFormat kPackInt4_128;

// The matrix in segments of at most kSegmentCols columns, cut where the source blocks are (float types:
// everywhere).
uint32_t SegmentCount(const PackedMatrix& matrix);
// Decodes one row of one segment; returns its number of columns.
uint32_t UnpackSegment(const PackedMatrix& matrix, uint32_t row, uint32_t segment, float* out);

// Dword `group` of row `lane`: quants is [groups][row_tile] dwords.
inline uint32_t LoadDword(const uint8_t* quants, size_t group, size_t row_tile, size_t lane) {
  return LoadU32(quants + 4 * (static_cast<size_t>(group) * row_tile + lane));
}

// Columns c and 16 + c lie in one byte of groups 0-3; to one value per byte.
inline void LoadNibbles(const uint8_t* quants, size_t row_tile, size_t lane, uint8_t* q) {
  for (size_t j = 0; j < 4; ++j) {
    const uint32_t both = LoadDword(quants, j, row_tile, lane);
    const uint32_t low = both & 0x0f0f0f0fu;
    const uint32_t high = (both >> 4) & 0x0f0f0f0fu;
    std::memcpy(q + 4 * j, &low, sizeof low);
    std::memcpy(q + 16 + 4 * j, &high, sizeof high);
  }
}

// Bit j of byte b of dword `group` is bit 4 of column 4j + b: adds it to q[32].
inline void AddFifthBits(const uint8_t* quants, size_t group, size_t row_tile, size_t lane, uint8_t* q) {
  const uint32_t bits = LoadDword(quants, group, row_tile, lane);
  for (size_t c = 0; c < 32; ++c)
    q[c] = static_cast<uint8_t>(q[c] | ((bits >> (8 * (c % 4) + c / 4)) & 1) << 4);
}

// The two bits of column c in groups first_group, first_group + 1 (lanes.h, StoreBitPairs).
inline uint32_t BitPair(const uint8_t* quants, size_t first_group, size_t row_tile, size_t lane, size_t c) {
  const uint32_t bits = LoadDword(quants, first_group + c / 16, row_tile, lane);
  return (bits >> (8 * (c % 4) + 2 * (c / 4 % 4))) & 3;
}

}  // namespace onecopy::kernels
