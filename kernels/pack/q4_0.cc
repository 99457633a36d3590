// Packing of Q4_0: unit = d f16[R], 4 groups of R dwords, whose bytes are those of the file. See pack.h.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  for (size_t u = 0; u < n_units; ++u, segment += 18 * row_tile, out += 32) {
    const float d = LoadF16(segment + 2 * lane);
    uint8_t q[32];
    LoadNibbles(segment + 2 * row_tile, row_tile, lane, q);
    for (size_t c = 0; c < 32; ++c) out[c] = static_cast<float>(q[c] - 8) * d;
  }
}

}  // namespace

const PackFormat kPackQ4_0 = {0, 18, kSegmentUnits * 18, PackNibbleBlocks<1>, PackNibbleBlocks<4>, Unpack};

}  // namespace onecopy::kernels
