// Weight types: every GGML type that a file may name, and those of published safetensors whose scales stand in tensors
// of their own; the block of each, and how one block decodes to float.
// Adding a type: one file in types/ with its decoder, one row in types/types.cc.
// Source: ggml's block definitions (ggml-common.h) and type numbers (ggml.h), GGUF specification v3.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onecopy::kernels {

// The enumerators onecopy computes with. A file's other GGML types are known by name and size only (see
// FindGgmlType).
enum class WeightType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kMXFP4,
  kQ5_0,
  kQ4_1,
  kQ5_1,
  kIQ4_NL,
  kIQ4_XS,
  kQ3_K,
  kQ2_K,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ2_S,
  kIQ3_XXS,
  kIQ3_S,
  kIQ1_S,
  kIQ1_M,
  kTQ1_0,
  kTQ2_0,
  kNVFP4,
  kQ1_0,
  // Of safetensors: a loader puts their blocks together from tensors of codes, scales and zeros (types/f8_e4m3.cc,
  // types/int4.cc, types/int8.cc).
  kF8_E4M3,
  kInt8_BF16,  // 32 columns a scale of bf16, signed bytes
  kInt4_BF16,  // 32 columns a scale of bf16, zero 8
  kInt4_32,    // 32, 64, 128 columns a scale of f16 or bf16 and a zero from 0 to 31
  kInt4_64,
  kInt4_128,
  kCount
};

// TypeInfo::ggml_type of a type that is not of GGML.
inline constexpr uint32_t kNotGgml = UINT32_MAX;

struct TypeInfo {
  const char* name;      // as ggml spells it: "Q4_K"
  uint32_t ggml_type;    // number in a GGUF file, or kNotGgml
  uint32_t block_cols;   // columns a block covers: 1, 32, 64, 128 or 256
  uint32_t block_bytes;  // bytes of a block
  WeightType type;       // kCount where onecopy knows the type by name and size only
  // Decodes n_cols values (a multiple of block_cols) from consecutive blocks to out. nullptr where type is
  // kCount. Bit for bit what ggml's dequantize_row gives. blocks may be unaligned. Types that are not of GGML: also n_cols that end
  // inside a block.
  void (*decode)(const uint8_t* blocks, float* out, size_t n_cols);
};

const TypeInfo& Info(WeightType type);             // type < kCount
const TypeInfo* FindGgmlType(uint32_t ggml_type);  // nullptr for a number that ggml does not define
const TypeInfo* FindTypeByName(const char* name);  // nullptr when unknown

// Bytes of one row of a file's tensor, whose last block may be partial only where the type is not of GGML.
inline uint64_t RowBytes(const TypeInfo& info, uint64_t cols) {
  return (cols + info.block_cols - 1) / info.block_cols * info.block_bytes;
}

}  // namespace onecopy::kernels
