// IQ4_NL: the scale of 32 columns is searched for so that the weighted squared error is least: for each of several roundings
// to the uneven levels the best scale follows by weighted least squares.
#include <cmath>

#include "kernels/quantize/quantizers.h"
#include "kernels/types/half.h"
#include "kernels/types/iq4.h"

namespace onecopy::kernels {
namespace {

uint8_t NearestLevel(float value) {
  uint8_t level = 0;
  while (level < 15 && value > 0.5f * static_cast<float>(kLevelsIQ4[level] + kLevelsIQ4[level + 1])) ++level;
  return level;
}

float SearchScale(const float* x) {
  float weights[32], largest = 0;
  ErrorWeights(x, 32, weights);
  for (int i = 0; i < 32; ++i) largest = std::fabs(x[i]) > std::fabs(largest) ? x[i] : largest;
  if (largest == 0) return 0;
  float best = 0;
  double most = 0;
  // The largest value near either end of the levels.
  const float ends[] = {-127.0f, 113.0f};
  for (const float end : ends) {
    for (int step = -7; step <= 7; ++step) {
      const float inverse = (end + static_cast<float>(step)) / largest;
      double xq = 0, qq = 0;
      for (int i = 0; i < 32; ++i) {
        const double level = kLevelsIQ4[NearestLevel(inverse * x[i])];
        xq += weights[i] * static_cast<double>(x[i]) * level;
        qq += weights[i] * level * level;
      }
      if (qq > 0 && xq * xq / qq > most) {
        most = xq * xq / qq;
        best = static_cast<float>(xq / qq);
      }
    }
  }
  return best;
}

}  // namespace

void QuantizeIQ4NL(const float* x, uint8_t* blocks, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, x += 32, blocks += 18) {
    StoreF16(SearchScale(x), blocks);
    const float d = LoadF16(blocks), inverse = d == 0 ? 0.0f : 1.0f / d;
    for (int c = 0; c < 16; ++c) {
      const uint8_t low = NearestLevel(inverse * x[c]), high = NearestLevel(inverse * x[c + 16]);
      blocks[2 + c] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

}  // namespace onecopy::kernels
