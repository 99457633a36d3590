// The codebooks of the IQ types: an index of the file stands for eight values (IQ1, IQ2) or four (IQ3), of which each is one
// of few. Format data of ggml (ggml-common.h), stored as the numbers of those few. Re-entrant.
#pragma once

#include <cstdint>

namespace onecopy::kernels {

// Bits 2i, 2i+1 of an entry: which of {8, 25, 43} value i is.
extern const uint16_t kGridIQ2XXS[256];
extern const uint16_t kGridIQ2XS[512];
extern const uint16_t kGridIQ2S[1024];
// The same for {-1, 0, 1}.
extern const uint16_t kGridIQ1[2048];
// Bits 3i … 3i+2 of an entry: which of {4, 12, 20, 28, 36, 44, 52, 62} value i is.
extern const uint16_t kGridIQ3XXS[256];
// The same for {1, 3, 5, …, 15}.
extern const uint16_t kGridIQ3S[512];

// The sign bits of eight values of which seven are stored: the number of ones is even.
inline uint8_t EvenSigns(uint32_t seven) {
  return static_cast<uint8_t>(seven | (static_cast<uint32_t>(__builtin_popcount(seven)) & 1) << 7);
}

// Eight values of an IQ2 grid entry, times scale, negated where a bit of signs is set.
inline void DecodeGrid2(uint16_t entry, uint8_t signs, float scale, float* out) {
  constexpr float kValues[4] = {8, 25, 43, 0};
  for (int i = 0; i < 8; ++i) {
    const float value = scale * kValues[(entry >> (2 * i)) & 3];
    out[i] = (signs >> i & 1) != 0 ? -value : value;
  }
}

// Four values of an IQ3 grid entry; signs: bits 0-3.
inline void DecodeGrid3(uint16_t entry, const uint8_t* values, uint32_t signs, float scale, float* out) {
  for (int i = 0; i < 4; ++i) {
    const float value = scale * static_cast<float>(values[(entry >> (3 * i)) & 7]);
    out[i] = (signs >> i & 1) != 0 ? -value : value;
  }
}

}  // namespace onecopy::kernels
