// Packing of the types that have a UnitFormat (types/units.h): the header, then a unit's lone bytes one after the other, then
// its words, each of all rows side by side.
#include "kernels/pack/format.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

// A unit of kBytes, of which so many are packed one by one and the rest in words. As numbers, since a constant of another file
// cannot be read while this one is compiled.
template <size_t kBytes, size_t kLone, size_t kWord>
struct Pieces {
  static constexpr size_t kUnitBytes = kBytes;
  // bytes[kBytes] into a packed unit, as row `lane`.
  static void Put(const uint8_t* bytes, size_t row_tile, size_t lane, uint8_t* unit) {
    for (size_t k = 0; k < kLone; ++k) unit[k * row_tile + lane] = bytes[k];
    for (size_t k = kLone; k < kBytes; k += kWord)
      std::memcpy(unit + k * row_tile + kWord * lane, bytes + k, kWord);
  }
  static void Get(const uint8_t* unit, size_t row_tile, size_t lane, uint8_t* bytes) {
    for (size_t k = 0; k < kLone; ++k) bytes[k] = unit[k * row_tile + lane];
    for (size_t k = kLone; k < kBytes; k += kWord)
      std::memcpy(bytes + k, unit + k * row_tile + kWord * lane, kWord);
  }
};

template <const UnitFormat& format, class Unit>
void PackRow(const uint8_t* block, size_t first_unit, size_t n_units, size_t row_tile, size_t lane,
             uint8_t* segment) {
  if (format.take_header != nullptr) format.take_header(block, segment + format.header_bytes * lane);
  segment += format.header_bytes * row_tile;
  uint8_t bytes[kMaxUnitBytes];
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += Unit::kUnitBytes * row_tile) {
    format.take_unit(block + u / format.block_units * format.block_bytes, u % format.block_units, bytes);
    Unit::Put(bytes, row_tile, lane, segment);
  }
}

template <const UnitFormat& format, class Unit, size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l)
    PackRow<format, Unit>(block + l * row_bytes, first_unit, n_units, row_tile, lane + l, segment);
}

template <const UnitFormat& format, class Unit>
void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const uint8_t* header = segment + format.header_bytes * lane;
  segment += format.header_bytes * row_tile;
  uint8_t bytes[kMaxUnitBytes];
  for (size_t u = 0; u < n_units; ++u, segment += Unit::kUnitBytes * row_tile, out += 32) {
    Unit::Get(segment, row_tile, lane, bytes);
    format.decode(header, bytes, out);
  }
}

template <const UnitFormat& format, class Unit>
constexpr PackFormat ByUnit(uint32_t header_bytes, uint32_t segment_bytes) {
  return {header_bytes,          Unit::kUnitBytes,      segment_bytes,
          Pack<format, Unit, 1>, Pack<format, Unit, 4>, Unpack<format, Unit>};
}

}  // namespace

constexpr PackFormat kPackIQ2XXS = ByUnit<kUnitsIQ2XXS, Pieces<8, 4, 4>>(2, 66);
constexpr PackFormat kPackIQ2XS = ByUnit<kUnitsIQ2XS, Pieces<9, 5, 4>>(2, 74);
constexpr PackFormat kPackIQ2S = ByUnit<kUnitsIQ2S, Pieces<10, 6, 4>>(2, 82);
constexpr PackFormat kPackIQ3XXS = ByUnit<kUnitsIQ3XXS, Pieces<12, 8, 4>>(2, 98);
constexpr PackFormat kPackIQ3S = ByUnit<kUnitsIQ3S, Pieces<14, 10, 4>>(2, 110);
constexpr PackFormat kPackIQ1S = ByUnit<kUnitsIQ1S, Pieces<6, 4, 2>>(2, 50);
constexpr PackFormat kPackIQ1M = ByUnit<kUnitsIQ1M, Pieces<7, 5, 2>>(2, 56);
constexpr PackFormat kPackTQ1_0 = ByUnit<kUnitsTQ1_0, Pieces<7, 3, 4>>(2, 54);
constexpr PackFormat kPackTQ2_0 = ByUnit<kUnitsTQ2_0, Pieces<8, 0, 4>>(2, 66);
constexpr PackFormat kPackNVFP4 = ByUnit<kUnitsNVFP4, Pieces<18, 2, 4>>(0, 4 * 36);

}  // namespace onecopy::kernels
