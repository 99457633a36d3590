// A token's activations in kQ8 (kernels.h), and what types of weights make of their scales before units are multiplied: `Prepare`
// of q8_matmul.h, for sixteen units at a time.
#pragma once

#include "kernels/avx512/vec.h"
#include "kernels/weight_stream.h"

namespace onecopy::kernels::avx512 {
namespace {

constexpr size_t kPreparedUnits = 16;

// A kQ8 row, taken apart (kernels.h), and what its units at work want of it, unit u at u % kPreparedUnits: in one place, since
// eight tokens have more pointers than there are registers.
struct Q8Row {
  const int8_t* q;
  const float* row_d;
  const float* row_s0;
  const float* row_s1;
  alignas(64) float d[kPreparedUnits];
  alignas(64) float s[2][kPreparedUnits];        // s0 + s1, or s0 and s1
  alignas(64) int32_t start[2][kPreparedUnits];  // of integer sums: of a unit, or of its halves
  Ahead ahead;  // of the first of several rows: of the weights of the unit at work
};

inline void TakeApart(const void* row, size_t units, Q8Row* x) {
  x->q = static_cast<const int8_t*>(row);
  x->row_d = reinterpret_cast<const float*>(x->q + 32 * units);
  x->row_s0 = x->row_d + units;
  x->row_s1 = x->row_s0 + units;
}

// Of sixteen units from u on, or as many as there are.
struct UnitScales {
  __m512 d, s0, s1;
};
inline UnitScales LoadScales(const Q8Row& x, size_t u, __mmask16 units) {
  return {_mm512_maskz_loadu_ps(units, x.row_d + u), _mm512_maskz_loadu_ps(units, x.row_s0 + u),
          _mm512_maskz_loadu_ps(units, x.row_s1 + u)};
}

// Prepare of types with minimums: of a unit, or of its halves.
inline void PrepareSums(const UnitScales& scales, Q8Row* x) {
  _mm512_store_ps(x->s[0], _mm512_add_ps(scales.s0, scales.s1));
}
inline void PrepareHalfSums(const UnitScales& scales, Q8Row* x) {
  _mm512_store_ps(x->s[0], scales.s0);
  _mm512_store_ps(x->s[1], scales.s1);
}

// -offset * n, where sums = d * n; n is small enough that the quotient rounds to it.
inline __m512i MinusOffset(__m512 sums, __m512 d, int offset) {
  const __mmask16 not_zero = _mm512_cmp_ps_mask(d, _mm512_setzero_ps(), _CMP_NEQ_UQ);
  const __m512 n = _mm512_roundscale_ps(_mm512_maskz_div_ps(not_zero, sums, d), _MM_FROUND_TO_NEAREST_INT);
  return _mm512_cvtps_epi32(_mm512_mul_ps(n, _mm512_set1_ps(static_cast<float>(-offset))));
}

// Prepare of types with an offset: for sums of a unit, or of its halves.
template <int kOffset>
inline void PrepareStart(const UnitScales& scales, Q8Row* x) {
  _mm512_store_si512(x->start[0], MinusOffset(_mm512_add_ps(scales.s0, scales.s1), scales.d, kOffset));
}
template <int kOffset>
inline void PrepareStarts(const UnitScales& scales, Q8Row* x) {
  _mm512_store_si512(x->start[0], MinusOffset(scales.s0, scales.d, kOffset));
  _mm512_store_si512(x->start[1], MinusOffset(scales.s1, scales.d, kOffset));
}

}  // namespace
}  // namespace onecopy::kernels::avx512
