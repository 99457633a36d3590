// Packing of Q5_K: header = d f16[R], dmin f16[R]; unit = sc u8[R], m u8[R], 4 groups of R dwords with bits
// 0-3, R dwords with bit 4. See pack.h.
#include "kernels/pack/format.h"
#include "kernels/types/k_scales.h"

namespace onecopy::kernels {
namespace {

void Pack(const uint8_t* block, size_t first_unit, size_t n_units, size_t row_tile, size_t lane,
          uint8_t* segment) {
  std::memcpy(segment + 2 * lane, block, 2);
  std::memcpy(segment + 2 * (row_tile + lane), block + 2, 2);
  segment += 4 * row_tile;
  const KScales scales = UnpackKScales(block + 4);
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += 22 * row_tile) {
    segment[lane] = scales.scale[u];
    segment[row_tile + lane] = scales.min[u];
    uint8_t* quants = segment + 2 * row_tile;
    StoreNibbles(block + 48 + 32 * (u / 2), 4 * (u % 2), row_tile, lane, quants);
    uint32_t bits = 0;
    for (size_t j = 0; j < 8; ++j) bits |= ((LoadU32(block + 16 + 4 * j) >> u) & 0x01010101u) << j;
    StoreDword(bits, 4, row_tile, lane, quants);
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const float d = LoadF16(segment + 2 * lane);
  const float dmin = LoadF16(segment + 2 * (row_tile + lane));
  segment += 4 * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += 22 * row_tile, out += 32) {
    const float scale = d * static_cast<float>(segment[lane]);
    const float min = dmin * static_cast<float>(segment[row_tile + lane]);
    uint8_t q[32];
    LoadNibbles(segment + 2 * row_tile, row_tile, lane, q);
    const uint32_t bits = LoadDword(segment + 2 * row_tile, 4, row_tile, lane);
    for (size_t c = 0; c < 32; ++c) {
      const uint32_t bit4 = (bits >> (8 * (c % 4) + c / 4)) & 1;
      out[c] = scale * static_cast<float>(static_cast<int>(q[c] | (bit4 << 4))) - min;
    }
  }
}

}  // namespace

const PackFormat kPackQ5K = {4, 22, 176, Pack, Unpack};

}  // namespace onecopy::kernels
