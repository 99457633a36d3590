// Nibbles that stand for levels of -127 … 127 (IQ4_NL, IQ4_XS).
#pragma once

#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

constexpr int kLevelsOffset = 128;

// For NibbleSums: kLevelsIQ4 (types/iq4.h) + 128.
struct Levels {
  const __m512i table = _mm512_broadcast_i32x4(
      _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
                    static_cast<char>(153), static_cast<char>(166), static_cast<char>(181),
                    static_cast<char>(197), static_cast<char>(217), static_cast<char>(241)));

  __m512i operator()(__m512i w, size_t, bool) const { return _mm512_shuffle_epi8(table, w); }
};

}  // namespace
}  // namespace onecopy::kernels::avx512
