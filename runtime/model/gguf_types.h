// Types of the values in a GGUF file's metadata, for its reader and its writer.
#pragma once

#include <array>
#include <cstdint>

namespace onecopy::gguf {

// gguf_metadata_value_type of the specification.
enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kNumTypes
};

// The fewest bytes a value takes, of numbers and bools all: a string or array has at least its length.
inline constexpr std::array<uint64_t, kNumTypes> kMinBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

}  // namespace onecopy::gguf
