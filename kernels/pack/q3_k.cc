// Packing of Q3_K: header = d f16[R]; unit = s0 i8[R], s1 i8[R] (columns 0-15, 16-31), 2 groups of R dwords with bits 0-1,
// R dwords with bit 2. See pack.h, and types/q3_k.cc for the file's block.
#include "kernels/types/q3_k.h"

#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l) std::memcpy(segment + 2 * (lane + l), block + l * row_bytes + 108, 2);
  segment += 2 * row_tile;
  Dwords<kLanes> high[8];  // bit u: bit 2 of a column of unit u
  LoadDwords<kLanes>(block, row_bytes, high);
  LoadDwords<kLanes>(block + 16, row_bytes, high + 4);
  for (size_t u = first_unit; u < first_unit + n_units; ++u, segment += 14 * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) {
      const uint8_t* scales = block + l * row_bytes + 96;
      segment[lane + l] = static_cast<uint8_t>(ScaleOfQ3K(scales, 2 * u));
      segment[row_tile + lane + l] = static_cast<uint8_t>(ScaleOfQ3K(scales, 2 * u + 1));
    }
    uint8_t* quants = segment + 2 * row_tile;
    StoreBitPairs<kLanes>(block + 32 + 32 * (u / 4), row_bytes, static_cast<uint32_t>(2 * (u % 4)), 0,
                          row_tile, lane, quants);
    Dwords<kLanes> bits = {};
    for (uint32_t j = 0; j < 8; ++j) bits |= ((high[j] >> static_cast<uint32_t>(u)) & 0x01010101u) << j;
    StoreDwords<kLanes>(bits, 2, row_tile, lane, quants);
  }
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const float d = LoadF16(segment + 2 * lane);
  segment += 2 * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += 14 * row_tile, out += 32) {
    const float scale[2] = {d * static_cast<float>(static_cast<int8_t>(segment[lane])),
                            d * static_cast<float>(static_cast<int8_t>(segment[row_tile + lane]))};
    const uint8_t* quants = segment + 2 * row_tile;
    const uint32_t high = LoadDword(quants, 2, row_tile, lane);
    for (size_t c = 0; c < 32; ++c) {
      const uint32_t bit2 = (high >> (8 * (c % 4) + c / 4)) & 1;
      const auto q = static_cast<int>(BitPair(quants, 0, row_tile, lane, c) | bit2 << 2);
      out[c] = scale[c / 16] * static_cast<float>(q - 4);
    }
  }
}

}  // namespace

const PackFormat kPackQ3K = {2, 14, 110, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
