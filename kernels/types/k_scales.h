// The twelve bytes of 6-bit scales and minimums that a Q4_K and a Q5_K block share (ggml-quants.c,
// get_scale_min_k4), unpacked without a branch. Re-entrant.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/types/half.h"

namespace onecopy::kernels {

struct KScales {
  uint8_t scale[8];  // per 32 columns
  uint8_t min[8];
};

inline KScales UnpackKScales(const uint8_t* packed) {
  const uint32_t a = LoadU32(packed);      // scales 0-3, on top two bits of each of scales 4-7
  const uint32_t b = LoadU32(packed + 4);  // minimums likewise
  const uint32_t c = LoadU32(packed + 8);  // low four bits of scales 4-7 and of minimums 4-7
  const uint32_t words[4] = {a & 0x3f3f3f3fu, (c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u), b & 0x3f3f3f3fu,
                             ((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u)};
  KScales out;
  static_assert(sizeof out == sizeof words);
  std::memcpy(&out, words, sizeof out);
  return out;
}

}  // namespace onecopy::kernels
