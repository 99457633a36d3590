// Packing of Q4_1: unit = d f16[R], m f16[R], 4 groups of R dwords, whose bytes are those of the file. See pack.h.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

constexpr size_t kBlockBytes = 20;

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  block += first_unit * kBlockBytes;
  for (size_t u = 0; u < n_units; ++u, block += kBlockBytes, segment += 20 * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) {
      std::memcpy(segment + 2 * (lane + l), block + l * row_bytes, 2);
      std::memcpy(segment + 2 * (row_tile + lane + l), block + l * row_bytes + 2, 2);
    }
    uint8_t* quants = segment + 4 * row_tile;
    CopyDwords<kLanes>(block + 4, row_bytes, 0, row_tile, lane, quants);
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  for (size_t u = 0; u < n_units; ++u, segment += 20 * row_tile, out += 32) {
    const float d = LoadF16(segment + 2 * lane);
    const float m = LoadF16(segment + 2 * (row_tile + lane));
    const uint8_t* quants = segment + 4 * row_tile;
    uint8_t q[32];
    LoadNibbles(quants, row_tile, lane, q);
    for (size_t c = 0; c < 32; ++c) out[c] = static_cast<float>(q[c]) * d + m;
  }
}

}  // namespace

const PackFormat kPackQ4_1 = {0, 20, kSegmentUnits* kBlockBytes, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
