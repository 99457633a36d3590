// Packing of the types that have a UnitFormat (types/units.h): header and units byte after byte, byte k of row r at
// k * R + r. Only `ref` computes with these.
#include "kernels/pack/format.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

template <const UnitFormat& format>
void PackRow(const uint8_t* block, size_t first_unit, size_t n_units, size_t row_tile, size_t lane,
             uint8_t* segment) {
  uint8_t bytes[kMaxUnitBytes];
  if (format.take_header != nullptr) {
    format.take_header(block, bytes);
    for (size_t k = 0; k < format.header_bytes; ++k) segment[k * row_tile + lane] = bytes[k];
    segment += format.header_bytes * row_tile;
  }
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += format.unit_bytes * row_tile) {
    format.take_unit(block + u / format.block_units * format.block_bytes, u % format.block_units, bytes);
    for (size_t k = 0; k < format.unit_bytes; ++k) segment[k * row_tile + lane] = bytes[k];
  }
}

template <const UnitFormat& format, size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l)
    PackRow<format>(block + l * row_bytes, first_unit, n_units, row_tile, lane + l, segment);
}

template <const UnitFormat& format>
void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  uint8_t header[kMaxHeaderBytes], unit[kMaxUnitBytes];
  for (size_t k = 0; k < format.header_bytes; ++k) header[k] = segment[k * row_tile + lane];
  segment += format.header_bytes * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += format.unit_bytes * row_tile, out += 32) {
    for (size_t k = 0; k < format.unit_bytes; ++k) unit[k] = segment[k * row_tile + lane];
    format.decode(header, unit, out);
  }
}

// Sizes are given again, since a constant of another file cannot be read while this one is initialised.
template <const UnitFormat& format>
constexpr PackFormat ByUnit(uint32_t header_bytes, uint32_t unit_bytes, uint32_t segment_bytes) {
  return {header_bytes, unit_bytes, segment_bytes, Pack<format, 1>, Pack<format, 4>, Unpack<format>};
}

}  // namespace

constexpr PackFormat kPackIQ2XXS = ByUnit<kUnitsIQ2XXS>(2, 8, 66);
constexpr PackFormat kPackIQ2XS = ByUnit<kUnitsIQ2XS>(2, 9, 74);
constexpr PackFormat kPackIQ2S = ByUnit<kUnitsIQ2S>(2, 10, 82);
constexpr PackFormat kPackIQ3XXS = ByUnit<kUnitsIQ3XXS>(2, 12, 98);
constexpr PackFormat kPackIQ3S = ByUnit<kUnitsIQ3S>(2, 14, 110);
constexpr PackFormat kPackIQ1S = ByUnit<kUnitsIQ1S>(2, 6, 50);
constexpr PackFormat kPackIQ1M = ByUnit<kUnitsIQ1M>(2, 7, 56);
constexpr PackFormat kPackTQ1_0 = ByUnit<kUnitsTQ1_0>(2, 7, 54);
constexpr PackFormat kPackTQ2_0 = ByUnit<kUnitsTQ2_0>(2, 8, 66);
constexpr PackFormat kPackNVFP4 = ByUnit<kUnitsNVFP4>(0, 18, 4 * 36);

}  // namespace onecopy::kernels
