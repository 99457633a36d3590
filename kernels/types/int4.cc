// INT4: unsigned codes of four bits, value = scale * (code - zero). Of each 32 columns, columns c stand in the low and
// 16 + c in the high nibble of byte c. INT4_BF16: 32 columns in 18 bytes, a scale bf16 and the codes, zero 8. The others:
// a header of three bytes (int4.h) and the codes of 32, 64 or 128 columns.
#include "kernels/types/int4.h"

#include <algorithm>

#include "kernels/types/decoders.h"

namespace onecopy::kernels {
namespace {

// `n` columns, at most 32.
void DecodeUnit(const uint8_t* codes, float scale, int zero, size_t n, float* out) {
  for (size_t c = 0; c < n; ++c) {
    const int code = c < 16 ? codes[c] & 15 : codes[c - 16] >> 4;
    out[c] = static_cast<float>(code - zero) * scale;
  }
}

}  // namespace

void DecodeInt4BF16(const uint8_t* blocks, float* out, size_t n_cols) {
  for (size_t begin = 0; begin < n_cols; begin += 32, blocks += 18)
    DecodeUnit(blocks + 2, BF16ToF32(LoadU16(blocks)), 8, std::min<size_t>(32, n_cols - begin), out + begin);
}

template <size_t kGroup>
void DecodeInt4(const uint8_t* blocks, float* out, size_t n_cols) {
  for (size_t begin = 0; begin < n_cols; begin += kGroup, blocks += 3 + kGroup / 2) {
    const float scale = Int4Scale(LoadU16(blocks), blocks[2]);
    for (size_t c = begin; c < std::min(n_cols, begin + kGroup); c += 32)
      DecodeUnit(blocks + 3 + (c - begin) / 2, scale, Int4Zero(blocks[2]), std::min<size_t>(32, n_cols - c),
                 out + c);
  }
}
template void DecodeInt4<32>(const uint8_t*, float*, size_t);
template void DecodeInt4<64>(const uint8_t*, float*, size_t);
template void DecodeInt4<128>(const uint8_t*, float*, size_t);

}  // namespace onecopy::kernels
