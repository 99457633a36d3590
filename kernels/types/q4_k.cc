// Q4_K: 256 columns in 144 bytes. d f16, dmin f16, 12 bytes of scales (k_scales.h), then for each 64 columns
// 32 bytes with the first 32 columns in the low and the second in the high nibbles; value d * scale * q -
// dmin * min.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"
#include "kernels/types/k_scales.h"

namespace onecopy::kernels {

void DecodeQ4K(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 256, blocks += 144) {
    const float d = LoadF16(blocks);
    const float dmin = LoadF16(blocks + 2);
    const KScales scales = UnpackKScales(blocks + 4);
    for (size_t unit = 0; unit < 8; ++unit, out += 32) {
      const uint8_t* q = blocks + 16 + 32 * (unit / 2);
      const size_t shift = 4 * (unit % 2);
      const float scale = d * static_cast<float>(scales.scale[unit]);
      const float min = dmin * static_cast<float>(scales.min[unit]);
      for (int c = 0; c < 32; ++c) out[c] = scale * static_cast<float>((q[c] >> shift) & 15) - min;
    }
  }
}

}  // namespace onecopy::kernels
