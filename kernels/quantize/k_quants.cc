// Q4_K, Q5_K, Q6_K: the scale (and minimum) of every 32 (16) columns is searched for so that the weighted squared error is
// least: for each of several roundings of the values the best scale and minimum follow by weighted least squares. Then the
// scales themselves are rounded to 6 (8) bits of a scale of the block, and the values once more with what is stored.
#include <cmath>
#include <cstring>

#include "kernels/quantize/quantizers.h"
#include "kernels/types/half.h"
#include "kernels/types/k_scales.h"

namespace onecopy::kernels {
namespace {

int Level(float value, int low, int high) {
  const int level = static_cast<int>(std::nearbyint(value));
  return level < low ? low : level > high ? high : level;
}

struct Line {
  float scale = 0, min = 0;  // value = scale * q - min; both at least 0
};

// The weighted sums of one rounding, and the line through it.
struct Sums {
  double w = 0, x = 0, q = 0, qq = 0, xq = 0, xx = 0;

  void Add(double weight, double value, double level) {
    w += weight;
    x += weight * value;
    q += weight * level;
    qq += weight * level * level;
    xq += weight * value * level;
    xx += weight * value * value;
  }
  // The best line whose minimum is not negative, and its error.
  double Fit(Line* line) const {
    const double determinant = w * qq - q * q;
    double scale = 0, low = 0;
    if (determinant > 0) {
      scale = (w * xq - x * q) / determinant;
      low = (qq * x - q * xq) / determinant;
    }
    if (determinant <= 0 || low > 0) {
      low = 0;
      scale = qq > 0 ? xq / qq : 0;
    }
    *line = {static_cast<float>(scale), static_cast<float>(-low)};
    return xx + scale * scale * qq + low * low * w - 2 * scale * xq - 2 * low * x + 2 * scale * low * q;
  }
};

// The line for 32 values and levels 0 … highest.
Line SearchLine(const float* x, int highest) {
  float weights[32];
  ErrorWeights(x, 32, weights);
  float low = 0, high = x[0];
  for (int i = 0; i < 32; ++i) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  if (high <= low) return {0, -low};
  Line best = {(high - low) / static_cast<float>(highest), -low};
  double least = HUGE_VAL;
  // Tries levels spread a little more and a little less widely than the range: the ends may be worth clipping.
  for (int step = -10; step <= 10; ++step) {
    const float inverse = (static_cast<float>(highest) + 0.1f * static_cast<float>(step)) / (high - low);
    Sums sums;
    for (int i = 0; i < 32; ++i) sums.Add(weights[i], x[i], Level(inverse * (x[i] - low), 0, highest));
    Line line;
    const double error = sums.Fit(&line);
    if (error < least && line.scale > 0) {
      least = error;
      best = line;
    }
  }
  return best;
}

// The inverse of UnpackKScales (types/k_scales.h).
void StoreKScales(const KScales& scales, uint8_t* packed) {
  for (int i = 0; i < 4; ++i) {
    packed[i] = static_cast<uint8_t>(scales.scale[i] | (scales.scale[i + 4] >> 4) << 6);
    packed[i + 4] = static_cast<uint8_t>(scales.min[i] | (scales.min[i + 4] >> 4) << 6);
    packed[i + 8] = static_cast<uint8_t>((scales.scale[i + 4] & 15) | (scales.min[i + 4] & 15) << 4);
  }
}

// d, dmin and scales of a Q4_K or Q5_K block to its first 16 bytes, the levels to q.
void QuantizeLines(const float* x, int highest, uint8_t* block, uint8_t* q) {
  Line lines[8];
  float largest_scale = 0, largest_min = 0;
  for (size_t u = 0; u < 8; ++u) {
    lines[u] = SearchLine(x + 32 * u, highest);
    largest_scale = std::fmax(largest_scale, lines[u].scale);
    largest_min = std::fmax(largest_min, lines[u].min);
  }
  StoreF16(largest_scale / 63, block);
  StoreF16(largest_min / 63, block + 2);
  const float d = LoadF16(block), dmin = LoadF16(block + 2);
  KScales scales;
  for (int u = 0; u < 8; ++u) {
    scales.scale[u] = static_cast<uint8_t>(d > 0 ? Level(lines[u].scale / d, 0, 63) : 0);
    scales.min[u] = static_cast<uint8_t>(dmin > 0 ? Level(lines[u].min / dmin, 0, 63) : 0);
    const float scale = d * scales.scale[u], min = dmin * scales.min[u];
    for (int i = 32 * u; i < 32 * u + 32; ++i)
      q[i] = static_cast<uint8_t>(scale > 0 ? Level((x[i] + min) / scale, 0, highest) : 0);
  }
  StoreKScales(scales, block + 4);
}

// Columns 64 * i + c in the low and 64 * i + 32 + c in the high nibble of byte 32 * i + c.
void StoreUnitNibbles(const uint8_t* q, uint8_t* out) {
  for (int i = 0; i < 4; ++i) {
    for (int c = 0; c < 32; ++c)
      out[32 * i + c] = static_cast<uint8_t>((q[64 * i + c] & 15) | (q[64 * i + 32 + c] & 15) << 4);
  }
}

// The scale for 16 values and levels -32 … 31, of either sign.
float SearchScale(const float* x) {
  float weights[16], largest = 0;
  ErrorWeights(x, 16, weights);
  for (int i = 0; i < 16; ++i) largest = std::fabs(x[i]) > std::fabs(largest) ? x[i] : largest;
  if (largest == 0) return 0;
  float best = 0;
  double most = 0;
  for (int step = -9; step <= 9; ++step) {
    const float inverse = -(32 + 0.1f * static_cast<float>(step)) / largest;
    double xq = 0, qq = 0;
    for (int i = 0; i < 16; ++i) {
      const double level = Level(inverse * x[i], -32, 31);
      xq += weights[i] * static_cast<double>(x[i]) * level;
      qq += weights[i] * level * level;
    }
    // The error is what the fit takes from sum w x^2.
    if (qq > 0 && xq * xq / qq > most) {
      most = xq * xq / qq;
      best = static_cast<float>(xq / qq);
    }
  }
  return best;
}

}  // namespace

void QuantizeQ4K(const float* x, uint8_t* blocks, size_t n_cols) {
  uint8_t q[256];
  for (; n_cols != 0; n_cols -= 256, x += 256, blocks += 144) {
    QuantizeLines(x, 15, blocks, q);
    StoreUnitNibbles(q, blocks + 16);
  }
}

void QuantizeQ5K(const float* x, uint8_t* blocks, size_t n_cols) {
  uint8_t q[256];
  for (; n_cols != 0; n_cols -= 256, x += 256, blocks += 176) {
    QuantizeLines(x, 31, blocks, q);
    for (int c = 0; c < 32; ++c) {
      uint32_t bits = 0;
      for (int u = 0; u < 8; ++u) bits |= static_cast<uint32_t>(q[32 * u + c] >> 4) << u;
      blocks[16 + c] = static_cast<uint8_t>(bits);
    }
    StoreUnitNibbles(q, blocks + 48);
  }
}

void QuantizeQ6K(const float* x, uint8_t* blocks, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 256, x += 256, blocks += 210) {
    float scales[16], largest = 0;
    for (size_t i = 0; i < 16; ++i) {
      scales[i] = SearchScale(x + 16 * i);
      largest = std::fabs(scales[i]) > std::fabs(largest) ? scales[i] : largest;
    }
    std::memset(blocks, 0, 210);
    StoreF16(largest / -128, blocks + 208);
    const float d = LoadF16(blocks + 208);
    for (int i = 0; i < 16; ++i) {
      const int scale = d != 0 ? Level(scales[i] / d, -128, 127) : 0;
      blocks[192 + i] = static_cast<uint8_t>(scale);
      const float step = d * static_cast<float>(scale);
      for (int c = 0; c < 16; ++c) {
        const int column = 16 * i + c;
        const int q = step != 0 ? Level(x[column] / step, -32, 31) + 32 : 32;
        // Halves of 128 columns; in each, columns 32 k … of nibbles at 32 * (k % 2), low ones for k < 2, and bit pairs k.
        const int half = column / 128, k = column / 32 % 4, at = column % 32;
        uint8_t& low = blocks[64 * half + 32 * (k % 2) + at];
        low = static_cast<uint8_t>(low | (q & 15) << (4 * (k / 2)));
        uint8_t& high = blocks[128 + 32 * half + at];
        high = static_cast<uint8_t>(high | (q >> 4) << (2 * k));
      }
    }
  }
}

}  // namespace onecopy::kernels
