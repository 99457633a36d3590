// Packing of Q8_0 and INT8_BF16: unit = d f16[R] or bf16[R], 8 groups of R dwords. See pack.h.
#include "kernels/pack/format.h"
#include "kernels/pack/lanes.h"

namespace onecopy::kernels {
namespace {

constexpr size_t kBlockBytes = 34;

template <size_t kLanes>
void Pack(const uint8_t* block, uint64_t row_bytes, size_t first_unit, size_t n_units, size_t row_tile,
          size_t lane, uint8_t* segment) {
  block += first_unit * kBlockBytes;
  for (size_t u = 0; u < n_units; ++u, block += kBlockBytes, segment += 34 * row_tile) {
    for (size_t l = 0; l < kLanes; ++l) std::memcpy(segment + 2 * (lane + l), block + l * row_bytes, 2);
    CopyDwords<kLanes>(block + 2, row_bytes, 0, row_tile, lane, segment + 2 * row_tile);
    CopyDwords<kLanes>(block + 18, row_bytes, 4, row_tile, lane, segment + 2 * row_tile);
  }
}

template <float (*kLoadScale)(const uint8_t*)>
void Unpack(const uint8_t* segment, size_t n_units, size_t row_tile, size_t lane, float* out) {
  for (size_t u = 0; u < n_units; ++u, segment += 34 * row_tile, out += 32) {
    const float d = kLoadScale(segment + 2 * lane);
    for (size_t j = 0; j < 8; ++j) {
      const uint32_t q = LoadDword(segment + 2 * row_tile, j, row_tile, lane);
      for (size_t b = 0; b < 4; ++b)
        out[4 * j + b] = static_cast<float>(static_cast<int8_t>(q >> (8 * b))) * d;
    }
  }
}

float LoadBF16(const uint8_t* p) {
  return BF16ToF32(LoadU16(p));
}

}  // namespace

const PackFormat kPackQ8_0 = {0, 34, kSegmentUnits* kBlockBytes, Pack<1>, Pack<4>, Unpack<LoadF16>};
const PackFormat kPackInt8BF16 = {0, 34, kSegmentUnits* kBlockBytes, Pack<1>, Pack<4>, Unpack<LoadBF16>};

}  // namespace onecopy::kernels
