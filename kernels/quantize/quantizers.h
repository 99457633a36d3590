// The quantisers, grouped by method; quantize.cc puts them into a table. See quantize.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onecopy::kernels {

void QuantizeF32(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeF16(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeBF16(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeQ8_0(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeQ4_0(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeQ4_1(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeQ5_0(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeQ5_1(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeMXFP4(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeQ4K(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeQ5K(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeQ6K(const float* x, uint8_t* blocks, size_t n_cols);
void QuantizeIQ4NL(const float* x, uint8_t* blocks, size_t n_cols);

// What a rounding error of each of n values counts: more where the value is large, as such weights move a sum most.
inline void ErrorWeights(const float* x, size_t n, float* weights) {
  float squares = 0;
  for (size_t i = 0; i < n; ++i) squares += x[i] * x[i];
  const float typical = __builtin_sqrtf(squares / static_cast<float>(n));
  for (size_t i = 0; i < n; ++i) weights[i] = typical + __builtin_fabsf(x[i]);
}

}  // namespace onecopy::kernels
