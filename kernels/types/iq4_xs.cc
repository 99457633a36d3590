// IQ4_XS: 256 columns in 136 bytes. d f16, a word with the upper two bits of each unit's scale, four bytes with the lower
// four, then 16 bytes per 32 columns as in IQ4_NL; value d * (s - 32) * level[q].
#include "kernels/types/decoders.h"
#include "kernels/types/half.h"
#include "kernels/types/iq4.h"

namespace onecopy::kernels {

void DecodeIQ4XS(const uint8_t* blocks, float* out, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 256, blocks += 136) {
    const float d = LoadF16(blocks);
    const uint32_t high = LoadU16(blocks + 2);
    const uint8_t* q = blocks + 8;
    for (unsigned unit = 0; unit < 8; ++unit, q += 16, out += 32) {
      const float scale = d * static_cast<float>(ScaleOfIQ4XS(blocks + 4, high, unit));
      for (int c = 0; c < 16; ++c) {
        out[c] = scale * static_cast<float>(kLevelsIQ4[q[c] & 15]);
        out[c + 16] = scale * static_cast<float>(kLevelsIQ4[q[c] >> 4]);
      }
    }
  }
}

}  // namespace onecopy::kernels
