// The block decoders, one per file of this folder (but for the types of units.h); types.cc puts them into the table. Each decodes n_cols
// values (a multiple of the type's block_cols) from consecutive, possibly unaligned blocks. Re-entrant. The
// order of the float operations is ggml's (ggml-quants.c, dequantize_row_*), since the results must match its
// bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onecopy::kernels {

void DecodeF32(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeF16(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeBF16(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ8_0(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ4_0(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ4K(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ5K(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ6K(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeMXFP4(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ5_0(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ4_1(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ5_1(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeIQ4NL(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeIQ4XS(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ3K(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ1_0(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeQ2K(const uint8_t* blocks, float* out, size_t n_cols);
// Not of GGML: n_cols may end inside a block.
void DecodeF8E4M3(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeInt8BF16(const uint8_t* blocks, float* out, size_t n_cols);
void DecodeInt4BF16(const uint8_t* blocks, float* out, size_t n_cols);
template <size_t kGroup>  // 32, 64, 128
void DecodeInt4(const uint8_t* blocks, float* out, size_t n_cols);

}  // namespace onecopy::kernels
