// Q5_K: 256 columns in 176 bytes. As Q4_K, with 32 bytes between scales and nibbles: bit u of byte c is bit 4
// of column 32 * u + c.
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"
#include "kernels/types/k_scales.h"

namespace onecopy::kernels {

void DecodeQ5K(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 256, blocks += 176) {
    const float d = LoadF16(blocks);
    const float dmin = LoadF16(blocks + 2);
    const KScales scales = UnpackKScales(blocks + 4);
    const uint8_t* high = blocks + 16;
    for (size_t unit = 0; unit < 8; ++unit, out += 32) {
      const uint8_t* low = blocks + 48 + 32 * (unit / 2);
      const size_t shift = 4 * (unit % 2);
      const float scale = d * static_cast<float>(scales.scale[unit]);
      const float min = dmin * static_cast<float>(scales.min[unit]);
      for (int c = 0; c < 32; ++c) {
        const int q = ((low[c] >> shift) & 15) | (((high[c] >> unit) & 1) << 4);
        out[c] = scale * static_cast<float>(q) - min;
      }
    }
  }
}

}  // namespace onecopy::kernels
