// UnitFormat: a type that is neither common nor simple enough for a packed layout of its own, as three functions: what of a
// block the header of a packed segment takes, what a unit of 32 columns takes, and how these decode. The block decoder and
// the packing (pack/by_unit.cc) follow from it. Re-entrant.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace onecopy::kernels {

struct UnitFormat {
  uint32_t block_bytes;   // in the file
  uint32_t block_units;   // units of 32 columns in a block
  uint32_t header_bytes;  // of what all units of a block share; at most kMaxHeaderBytes
  uint32_t unit_bytes;    // at most kMaxUnitBytes
  void (*take_header)(const uint8_t* block, uint8_t* header);  // nullptr when there is none
  void (*take_unit)(const uint8_t* block, size_t unit, uint8_t* out);
  // Bit for bit ggml's values.
  void (*decode)(const uint8_t* header, const uint8_t* unit, float* out);
};
inline constexpr uint32_t kMaxHeaderBytes = 4, kMaxUnitBytes = 24;

extern const UnitFormat kUnitsIQ2XXS;
extern const UnitFormat kUnitsIQ2XS;
extern const UnitFormat kUnitsIQ2S;
extern const UnitFormat kUnitsIQ3XXS;
extern const UnitFormat kUnitsIQ3S;
extern const UnitFormat kUnitsIQ1S;
extern const UnitFormat kUnitsIQ1M;
extern const UnitFormat kUnitsTQ1_0;
extern const UnitFormat kUnitsTQ2_0;
extern const UnitFormat kUnitsNVFP4;

// The d that most super-blocks begin with.
inline void TakeFirstHalf(const uint8_t* block, uint8_t* header) {
  header[0] = block[0];
  header[1] = block[1];
}

// The block decoder of a UnitFormat.
template <const UnitFormat& format>
void DecodeByUnit(const uint8_t* blocks, float* out, size_t n_cols) {
  uint8_t header[kMaxHeaderBytes], unit[kMaxUnitBytes];
  for (; n_cols != 0; n_cols -= size_t{32} * format.block_units, blocks += format.block_bytes) {
    if (format.take_header != nullptr) format.take_header(blocks, header);
    for (size_t u = 0; u < format.block_units; ++u, out += 32) {
      format.take_unit(blocks, u, unit);
      format.decode(header, unit, out);
    }
  }
}

}  // namespace onecopy::kernels
