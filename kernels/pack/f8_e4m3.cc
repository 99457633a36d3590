// Packing of F8_E4M3: header = scale f32[R]; unit = 8 groups of R dwords, the bytes of each reordered. See pack.h.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"
#include "kernels/types/e4m3.h"

namespace onecopy::kernels {
namespace {

// Swaps bytes 1 and 2; its own inverse.
template <typename T>
T Reorder(T v) {
  return (v & 0xff0000ffu) | ((v & 0x0000ff00u) << 8) | ((v & 0x00ff0000u) >> 8);
}

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l) std::memcpy(segment + 4 * (lane + l), block + l * row_bytes, 4);
  segment += 4 * row_tile;
  const uint8_t* codes = block + 4 + 32 * first_unit;
  for (size_t u = 0; u < n_units; ++u, codes += 32, segment += 32 * row_tile) {
    Dwords<kLanes> dwords[8];
    LoadDwords<kLanes>(codes, row_bytes, dwords);
    LoadDwords<kLanes>(codes + 16, row_bytes, dwords + 4);
    for (size_t j = 0; j < 8; ++j) StoreDwords<kLanes>(Reorder(dwords[j]), j, row_tile, lane, segment);
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const float scale = std::bit_cast<float>(LoadU32(segment + 4 * lane));
  segment += 4 * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += 32 * row_tile, out += 32) {
    for (size_t j = 0; j < 8; ++j) {
      const uint32_t codes = Reorder(LoadDword(segment, j, row_tile, lane));
      for (size_t b = 0; b < 4; ++b)
        out[4 * j + b] = E4M3ToF32(static_cast<uint8_t>(codes >> (8 * b))) * scale;
    }
  }
}

}  // namespace

const PackFormat kPackF8E4M3 = {4, 32, 132, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
