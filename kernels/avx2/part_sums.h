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
