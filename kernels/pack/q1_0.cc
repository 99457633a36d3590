// Packing of Q1_0: header = d f16[R]; unit = R dwords, of which bit j of byte b is column 4j + b. See pack.h, and types/q1_0.cc
// for the file's block.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l) std::memcpy(segment + 2 * (lane + l), block + l * row_bytes, 2);
  segment += 2 * row_tile;
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += 4 * row_tile) {
    const Dwords<kLanes> bits = LoadDwordOfRows<kLanes>(block + 2 + 4 * u, row_bytes);
    StoreDwords<kLanes>(ColumnBitsByByte<kLanes>(bits), 0, row_tile, lane, segment);
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const float d = LoadF16(segment + 2 * lane);
  segment += 2 * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += 4 * row_tile, out += 32) {
    const uint32_t bits = LoadDword(segment, 0, row_tile, lane);
    for (size_t c = 0; c < 32; ++c) out[c] = (bits >> (8 * (c % 4) + c / 4)) & 1 ? d : -d;
  }
}

}  // namespace

const PackFormat kPackQ1_0 = {2, 4, 18, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
