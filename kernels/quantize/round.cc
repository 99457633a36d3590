// Types whose scale follows from the largest value or the range of a block: rounding, no search. Order of operations as in
// ggml (ggml-quants.c, quantize_row_*_ref), since the results must match its bits.
#include <cmath>
#include <cstring>

#include "kernels/quantize/quantizers.h"
#include "kernels/types/half.h"
#include "kernels/types/mxfp4.h"

namespace onecopy::kernels {
namespace {

float Inverse(float d) {
  return d == 0 ? 0.0f : 1.0f / d;
}

// The value of greatest size, the first of several.
float Largest(const float* x) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

// Nibbles c and 16 + c of a block to byte c.
void StoreNibbles(const uint8_t* q, uint8_t* out) {
  for (int c = 0; c < 16; ++c) out[c] = static_cast<uint8_t>((q[c] & 15) | q[c + 16] << 4);
}

void StoreFifthBits(const uint8_t* q, uint8_t* out) {
  uint32_t bits = 0;
  for (uint32_t c = 0; c < 32; ++c) bits |= static_cast<uint32_t>(q[c] >> 4) << c;
  std::memcpy(out, &bits, sizeof bits);
}

// q = x / d + levels / 2, where d puts the largest value on the lowest level.
void RoundSymmetric(const float* x, int levels, uint8_t* d_out, uint8_t* q) {
  const float half = static_cast<float>(levels) / 2;
  const float d = Largest(x) / -half, inverse = Inverse(d);
  StoreF16(d, d_out);
  for (int i = 0; i < 32; ++i) {
    const int level = static_cast<int>(x[i] * inverse + (half + 0.5f));
    q[i] = static_cast<uint8_t>(level < levels - 1 ? level : levels - 1);
  }
}

// q = (x - min) / d, where d spreads the range over all levels.
void RoundRange(const float* x, int levels, uint8_t* d_and_min, uint8_t* q) {
  float min = x[0], max = x[0];
  for (int i = 1; i < 32; ++i) {
    min = x[i] < min ? x[i] : min;
    max = x[i] > max ? x[i] : max;
  }
  const float d = (max - min) / static_cast<float>(levels - 1), inverse = Inverse(d);
  StoreF16(d, d_and_min);
  StoreF16(min, d_and_min + 2);
  for (int i = 0; i < 32; ++i) {
    // NOLINTNEXTLINE(bugprone-incorrect-roundings): as ggml rounds, to the bit
    const int level = static_cast<int>((x[i] - min) * inverse + 0.5f);
    q[i] = static_cast<uint8_t>(level < levels - 1 ? level : levels - 1);
  }
}

}  // namespace

void QuantizeF32(const float* x, uint8_t* blocks, size_t n_cols) {
  std::memcpy(blocks, x, n_cols * sizeof(float));
}

void QuantizeF16(const float* x, uint8_t* blocks, size_t n_cols) {
  for (size_t i = 0; i < n_cols; ++i) StoreF16(x[i], blocks + 2 * i);
}

void QuantizeBF16(const float* x, uint8_t* blocks, size_t n_cols) {
  for (size_t i = 0; i < n_cols; ++i) {
    const auto bits = std::bit_cast<uint32_t>(x[i]);
    const auto bf16 = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    std::memcpy(blocks + 2 * i, &bf16, sizeof bf16);
  }
}

void QuantizeQ8_0(const float* x, uint8_t* blocks, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, x += 32, blocks += 34) {
    const float d = std::fabs(Largest(x)) / 127.0f, inverse = Inverse(d);
    StoreF16(d, blocks);
    for (int i = 0; i < 32; ++i)
      blocks[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * inverse)));
  }
}

void QuantizeQ4_0(const float* x, uint8_t* blocks, size_t n_cols) {
  uint8_t q[32];
  for (; n_cols != 0; n_cols -= 32, x += 32, blocks += 18) {
    RoundSymmetric(x, 16, blocks, q);
    StoreNibbles(q, blocks + 2);
  }
}

void QuantizeQ5_0(const float* x, uint8_t* blocks, size_t n_cols) {
  uint8_t q[32];
  for (; n_cols != 0; n_cols -= 32, x += 32, blocks += 22) {
    RoundSymmetric(x, 32, blocks, q);
    StoreFifthBits(q, blocks + 2);
    StoreNibbles(q, blocks + 6);
  }
}

void QuantizeQ4_1(const float* x, uint8_t* blocks, size_t n_cols) {
  uint8_t q[32];
  for (; n_cols != 0; n_cols -= 32, x += 32, blocks += 20) {
    RoundRange(x, 16, blocks, q);
    StoreNibbles(q, blocks + 4);
  }
}

void QuantizeQ5_1(const float* x, uint8_t* blocks, size_t n_cols) {
  uint8_t q[32];
  for (; n_cols != 0; n_cols -= 32, x += 32, blocks += 24) {
    RoundRange(x, 32, blocks, q);
    StoreFifthBits(q, blocks + 4);
    StoreNibbles(q, blocks + 8);
  }
}

void QuantizeMXFP4(const float* x, uint8_t* blocks, size_t n_cols) {
  for (; n_cols != 0; n_cols -= 32, x += 32, blocks += 17) {
    const float largest = std::fabs(Largest(x));
    // The largest of E2M1 is 6, in [4, 8).
    const float e = largest > 0 ? std::floor(std::log2(largest)) - 2 + 127 : 0.0f;
    blocks[0] = static_cast<uint8_t>(e < 0 ? 0.0f : e);
    const float d = HalfOfE8M0(blocks[0]);
    uint8_t q[32];
    for (int i = 0; i < 32; ++i) {
      float least = INFINITY;
      for (uint8_t level = 0; level < 16; ++level) {
        const float error = std::fabs(d * static_cast<float>(kDoubledE2M1[level]) - x[i]);
        if (error < least) {
          least = error;
          q[i] = level;
        }
      }
    }
    StoreNibbles(q, blocks + 1);
  }
}

}  // namespace onecopy::kernels
