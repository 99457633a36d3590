// Packing of MXFP4: unit = e u8[R], 4 groups of R dwords, whose bytes are those of the file. See pack.h.
#include "kernels/types/mxfp4.h"

#include "kernels/pack/format.h"

namespace onecopy::kernels {
namespace {

constexpr size_t kBlockBytes = 17;

void Pack(const uint8_t* block, size_t first_unit, size_t n_units, size_t row_tile, size_t lane,
          uint8_t* segment) {
  block += first_unit * kBlockBytes;
  for (size_t u = 0; u < n_units; ++u, block += kBlockBytes, segment += 17 * row_tile) {
    segment[lane] = block[0];
    for (size_t j = 0; j < 4; ++j) {
      StoreDword(LoadU32(block + 1 + 4 * j), j, row_tile, lane, segment + row_tile);
    }
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  for (size_t u = 0; u < n_units; ++u, segment += 17 * row_tile, out += 32) {
    const float d = HalfOfE8M0(segment[lane]);
    uint8_t q[32];
    LoadNibbles(segment + row_tile, row_tile, lane, q);
    for (size_t c = 0; c < 32; ++c) out[c] = static_cast<float>(kDoubledE2M1[q[c]]) * d;
  }
}

}  // namespace

const PackFormat kPackMXFP4 = {0, 17, kSegmentUnits* kBlockBytes, Pack, Unpack};

}  // namespace onecopy::kernels
