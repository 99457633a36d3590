// What the loops for few and for many tokens share (q8_parts.h): how the integer sums of a unit become float.
#pragma once

#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

// Keeps a running sum in its register: g++ 12 else puts all products of a unit on the stack first and adds them up later,
// at half the speed.
inline void KeepInRegister(__m256i* sum) {
  asm volatile("" : "+x"(*sum));
}

// Two of four columns of every row, as int16: half 0 the first two. Each byte goes above a zero one, then back down with its
// sign. For many tokens 8-bit weights are so (kGroup 0): then the products of 32 columns take 16 multiplications and 16
// additions, against 8 each of sign, maddubs and madd, which compete for the same units, and 8 additions.
inline __m256i WidenPairs(__m256i bytes, size_t half) {
  const auto b = static_cast<char>(2 * half);
  const __m256i row = _mm256_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12);
  const __m256i places = _mm256_set1_epi32((b + 1) << 24 | 0x80 << 16 | b << 8 | 0x80);
  const __m256i index =
      _mm256_add_epi8(_mm256_or_si256(_mm256_slli_epi32(row, 8), _mm256_slli_epi32(row, 24)), places);
  return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, index), 8);
}

// Of one token, in every lane.
struct TokenScales {
  __m256 d, s0, s1, s;
};

// What is left of a segment's header; blocks of one unit have none.
template <class Kernel, bool kHasHeader = Kernel::kHeaderBytes != 0>
struct HeaderOf {
  explicit HeaderOf(const uint8_t*) {}
  static constexpr bool kFromAcc = true;
  __m256 Finish(__m256 products, __m256, __m256) const { return products; }
  __m256 Term(const typename Kernel::Scales& of_unit, __m256i sum, const TokenScales& x) const {
    return Kernel::Term(of_unit, sum, x);
  }
};
template <class Kernel>
struct HeaderOf<Kernel, true> {
  explicit HeaderOf(const uint8_t* p) : header(Kernel::LoadHeader(p)) {}
  static constexpr bool kFromAcc = false;
  __m256 Finish(__m256 products, __m256 offsets, __m256 acc) const {
    return Kernel::Finish(header, products, offsets, acc);
  }
  __m256 Term(const typename Kernel::Scales& of_unit, __m256i sum, const TokenScales& x) const {
    return Kernel::Term(header, of_unit, sum, x);
  }
  typename Kernel::Header header;
};

inline void Clear(__m256* acc) {
  *acc = _mm256_setzero_ps();
}
inline void Clear(Sum8* acc) {
  *acc = {_mm256_setzero_pd(), _mm256_setzero_pd()};
}

}  // namespace
}  // namespace onecopy::kernels::avx2
