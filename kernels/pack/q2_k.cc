// Packing of Q2_K: header = d f16[R], dmin f16[R]; unit = scales and minimums u8[R] (columns 0-15), u8[R] (columns 16-31), as
// the file has them, 2 groups of R dwords. See pack.h, and types/q2_k.cc for the file's block.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l) {
    std::memcpy(segment + 2 * (lane + l), block + l * row_bytes + 80, 2);
    std::memcpy(segment + 2 * (row_tile + lane + l), block + l * row_bytes + 82, 2);
  }
  segment += 4 * row_tile;
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += 10 * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) {
      segment[lane + l] = block[l * row_bytes + 2 * u];
      segment[row_tile + lane + l] = block[l * row_bytes + 2 * u + 1];
    }
    StoreBitPairs<kLanes>(block + 16 + 32 * (u / 4), row_bytes, static_cast<uint32_t>(2 * (u % 4)), 0,
                          row_tile, lane, segment + 2 * row_tile);
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const float d = LoadF16(segment + 2 * lane);
  const float dmin = LoadF16(segment + 2 * (row_tile + lane));
  segment += 4 * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += 10 * row_tile) {
    for (size_t half = 0; half < 2; ++half, out += 16) {
      const uint8_t both = segment[half * row_tile + lane];
      const float scale = d * static_cast<float>(both & 15), min = dmin * static_cast<float>(both >> 4);
      for (size_t c = 0; c < 16; ++c) {
        const uint32_t q = BitPair(segment + 2 * row_tile, 0, row_tile, lane, 16 * half + c);
        out[c] = scale * static_cast<float>(static_cast<int>(q)) - min;
      }
    }
  }
}

}  // namespace

const PackFormat kPackQ2K = {4, 10, 84, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
