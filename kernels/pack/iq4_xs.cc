// Packing of IQ4_XS: header = d f16[R]; unit = s i8[R], 4 groups of R dwords. See pack.h, and types/iq4_xs.cc for the file's
// block.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"
#include "kernels/types/iq4.h"

namespace onecopy::kernels {
namespace {

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l) std::memcpy(segment + 2 * (lane + l), block + l * row_bytes, 2);
  segment += 2 * row_tile;
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += 17 * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) {
      const uint8_t* of_row = block + l * row_bytes;
      const int scale = ScaleOfIQ4XS(of_row + 4, LoadU16(of_row + 2), static_cast<unsigned>(u));
      segment[lane + l] = static_cast<uint8_t>(scale);
    }
    CopyDwords<kLanes>(block + 8 + 16 * u, row_bytes, 0, row_tile, lane, segment + row_tile);
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const float d = LoadF16(segment + 2 * lane);
  segment += 2 * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += 17 * row_tile, out += 32) {
    const float scale = d * static_cast<float>(static_cast<int8_t>(segment[lane]));
    uint8_t q[32];
    LoadNibbles(segment + row_tile, row_tile, lane, q);
    for (size_t c = 0; c < 32; ++c) out[c] = scale * static_cast<float>(kLevelsIQ4[q[c]]);
  }
}

}  // namespace

const PackFormat kPackIQ4XS = {2, 17, 136, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
