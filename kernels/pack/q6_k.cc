// Packing of Q6_K: header = d f16[R]; unit = s0 i8[R], s1 i8[R], 4 groups of R dwords with bits 0-3, 2 groups
// with bits 4-5. See pack.h, and types/q6_k.cc for the file's block.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l) std::memcpy(segment + 2 * (lane + l), block + l * row_bytes + 208, 2);
  segment += 2 * row_tile;
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += 26 * row_tile) {
    const size_t half = u / 4, k = u % 4;
    for (size_t l = 0; l < kLanes; ++l) {
      segment[lane + l] = block[l * row_bytes + 192 + 2 * u];
      segment[row_tile + lane + l] = block[l * row_bytes + 192 + 2 * u + 1];
    }
    uint8_t* quants = segment + 2 * row_tile;
    StoreNibbles<kLanes>(block + 64 * half + 32 * (k % 2), row_bytes, 4 * static_cast<int>(k / 2), row_tile,
                         lane, quants);
    StoreBitPairs<kLanes>(block + 128 + 32 * half, row_bytes, static_cast<uint32_t>(2 * k), 4, row_tile, lane,
                          quants);
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const float d = LoadF16(segment + 2 * lane);
  segment += 2 * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += 26 * row_tile, out += 32) {
    const float scale[2] = {d * static_cast<float>(static_cast<int8_t>(segment[lane])),
                            d * static_cast<float>(static_cast<int8_t>(segment[row_tile + lane]))};
    const uint8_t* quants = segment + 2 * row_tile;
    uint8_t q[32];
    LoadNibbles(quants, row_tile, lane, q);
    for (size_t c = 0; c < 32; ++c) {
      const uint32_t high = BitPair(quants, 4, row_tile, lane, c);
      out[c] = scale[c / 16] * static_cast<float>(static_cast<int>(q[c] | (high << 4)) - 32);
    }
  }
}

}  // namespace

const PackFormat kPackQ6K = {2, 26, 210, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
