// What the loops for few and for many tokens share (q8_parts.h): a unit's weights, and how its integer sums become float.
#pragma once

#include "kernels/avx2/q8_matmul.h"

namespace onecopy::kernels::avx2 {
namespace {

// Keeps a running sum in its register: g++ 12 else puts all products of a unit on the stack first and adds them up later,
// at half the speed.
inline void KeepInRegister(__m256i* sum) {
  asm volatile("" : "+x"(*sum));
}

// A unit's weights. Of signed ones, few tokens take magnitude and sign apart.
template <class Kernel>
struct WeightsOf {
  void Load(const uint8_t* at) { p = at; }
  __m256i Weights(size_t j) const { return Kernel::Weights(p, j); }
  __m256i Magnitude(size_t j) const { return _mm256_abs_epi8(Weights(j)); }
  __m256i Sign(size_t j) const { return Weights(j); }
  const uint8_t* p;
};
template <class Kernel>
requires requires {
  typename Kernel::Decoded;
}
struct WeightsOf<Kernel> : Kernel::Decoded {};

// Signed weights that are multiplied by a scale before products of a unit are summed.
template <class Kernel>
constexpr bool kScaledWeights = requires(const WeightsOf<Kernel>& weights) {
  weights.Scale(0);
};

// What a group's 16-bit sums add to the sum of a unit (nothing yet in group 0). Where scales are float (FloatScale), so is it.
template <class Kernel>
inline __m256i AddGroup(const typename Kernel::Scales& scales, size_t group, __m256i pairs, __m256i sum) {
  if constexpr (requires { Kernel::FloatScale(scales, group); }) {
    const __m256 products = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    const __m256 scale = Kernel::FloatScale(scales, group);
    return _mm256_castps_si256(group == 0 ? _mm256_mul_ps(products, scale)
                                          : _mm256_fmadd_ps(products, scale, _mm256_castsi256_ps(sum)));
  } else {
    const __m256i scaled = _mm256_madd_epi16(pairs, Kernel::Scale(scales, group));
    return group == 0 ? scaled : _mm256_add_epi32(sum, scaled);
  }
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
