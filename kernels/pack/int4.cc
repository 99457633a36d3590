// Packing of INT4. INT4_BF16: unit = scale bf16[R], 4 groups of R dwords. The others: header = u16[R], u8[R], unit = 4
// groups of R dwords. The dwords' bytes are those of the blocks. See pack.h.
#include "kernels/types/int4.h"

#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

void UnpackUnit(const uint8_t* quants, size_t row_tile, size_t lane, float scale, int zero, float* out) {
  uint8_t q[32];
  LoadNibbles(quants, row_tile, lane, q);
  for (size_t c = 0; c < 32; ++c) out[c] = static_cast<float>(q[c] - zero) * scale;
}

template <size_t kLanes>
void PackBF16(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
              size_t lane, uint8_t* segment) {
  block += first_unit * 18;
  for (size_t u = 0; u < n_units; ++u, block += 18, segment += 18 * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) std::memcpy(segment + 2 * (lane + l), block + l * row_bytes, 2);
    CopyDwords<kLanes>(block + 2, row_bytes, 0, row_tile, lane, segment + 2 * row_tile);
  }
}

void UnpackBF16(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  for (size_t u = 0; u < n_units; ++u, segment += 18 * row_tile, out += 32)
    UnpackUnit(segment + 2 * row_tile, row_tile, lane, BF16ToF32(LoadU16(segment + 2 * lane)), 8, out);
}

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  for (size_t l = 0; l < kLanes; ++l) {
    std::memcpy(segment + 2 * (lane + l), block + l * row_bytes, 2);
    segment[2 * row_tile + lane + l] = block[l * row_bytes + 2];
  }
  segment += 3 * row_tile;
  const uint8_t* codes = block + 3 + 16 * first_unit;
  for (size_t u = 0; u < n_units; ++u, codes += 16, segment += 16 * row_tile)
    CopyDwords<kLanes>(codes, row_bytes, 0, row_tile, lane, segment);
}

void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  const uint8_t lower = segment[2 * row_tile + lane];
  const float scale = Int4Scale(LoadU16(segment + 2 * lane), lower);
  segment += 3 * row_tile;
  for (size_t u = 0; u < n_units; ++u, segment += 16 * row_tile, out += 32)
    UnpackUnit(segment, row_tile, lane, scale, Int4Zero(lower), out);
}

}  // namespace

const PackFormat kPackInt4BF16 = {0, 18, kSegmentUnits * 18, PackBF16<1>, PackBF16<4>, UnpackBF16};
const PackFormat kPackInt4_32 = {3, 16, 19, Pack<1>, Pack<4>, Unpack};
const PackFormat kPackInt4_64 = {3, 16, 35, Pack<1>, Pack<4>, Unpack};
const PackFormat kPackInt4_128 = {3, 16, 67, Pack<1>, Pack<4>, Unpack};

}  // namespace onecopy::kernels
