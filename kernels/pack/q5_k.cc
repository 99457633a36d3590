// Packing of Q5_K: header = d f16[R], dmin f16[R]; unit = sc u8[R], m u8[R], 4 groups of R dwords with bits
// 0-3, R dwords with bit 4. See pack.h.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"
#include "kernels/types/k_scales.h"

namespace onecopy::kernels {
namespace {

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  KScales scales[kLanes];
  for (size_t l = 0; l < kLanes; ++l) {
    const uint8_t* of_row = block + l * row_bytes;
    std::memcpy(segment + 2 * (lane + l), of_row, 2);
    std::memcpy(segment + 2 * (row_tile + lane + l), of_row + 2, 2);
    scales[l] = UnpackKScales(of_row + 4);
  }
  segment += 4 * row_tile;
  Dwords<kLanes> high[8];  // bit u: bit 4 of a column of unit u
  LoadDwords<kLanes>(block + 16, row_bytes, high);
  LoadDwords<kLanes>(block + 32, row_bytes, high + 4);
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += 22 * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) {
      segment[lane + l] = scales[l].scale[u];
      segment[row_tile + lane + l] = scales[l].min[u];
    }
    uint8_t* quants = segment + 2 * row_tile;
    StoreNibbles<kLanes>(block + 48 + 32 * (u / 2), row_bytes, 4 * (u % 2), row_tile, lane, quants);
    Dwords<kLanes> bits = {};
    for (size_t j = 0; j < 8; ++j)
      bits |= ((high[j] >> static_cast<uint32_t>(u)) & 0x01010101u) << static_cast<uint32_t>(j);
    StoreDwords<kLanes>(bits, 4, row_tile, lane, quants);
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
    AddFifthBits(segment + 2 * row_tile, 4, row_tile, lane, q);
    for (size_t c = 0; c < 32; ++c) out[c] = scale * static_cast<float>(q[c]) - min;
  }
}

}  // namespace

const PackFormat kPackQ5K = {4, 22, 176, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
