// Bit 4 of the quants of Q5_K and Q5_0 (pack/q5_k.cc, pack/q5_0.cc): a dword a row behind the nibbles of a unit. Bit j of every
// byte belongs to columns 4j.., bit 4 + j to columns 16 + 4j...
#pragma once

#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

// For NibbleSums.
struct FifthBits {
  __m512i bits;

  // Shifts move bits between bytes of a dword; the mask drops them.
  __m512i operator()(__m512i w, size_t j, bool high) const {
    const __m512i moved = high ? _mm512_srli_epi32(bits, static_cast<unsigned>(j))
                               : _mm512_slli_epi32(bits, static_cast<unsigned>(4 - j));
    return _mm512_or_si512(w, _mm512_and_si512(moved, _mm512_set1_epi8(16)));
  }
};

}  // namespace
}  // namespace onecopy::kernels::avx512
