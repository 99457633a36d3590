// Packing of MXFP4: unit = e u8[R], 4 groups of R dwords, whose bytes are those of the file. See pack.h.
#include "kernels/types/mxfp4.h"

#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

constexpr size_t kBlockBytes = 17;

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  block += first_unit * kBlockBytes;
  for (size_t u = 0; u < n_units; ++u, block += kBlockBytes, segment += 17 * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) segment[lane + l] = block[l * row_bytes];
    CopyDwords<kLanes>(block + 1, row_bytes, 0, row_tile, lane, segment + row_tile);
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

const PackFormat kPackMXFP4 = {0, 17, kSegmentUnits* kBlockBytes, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
