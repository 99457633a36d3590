// Writes a GGUF file, version 3: its header, from metadata that another file has or that is given as JSON. Source: GGUF specification v3 (ggml docs/gguf.md).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/model/checkpoint.h"

namespace onecopy {

// The key-value pairs of a header. general.file_type is llama.cpp's llama_ftype.
struct GgufPairs {
  std::string bytes;
  uint64_t count = 0;
  uint64_t alignment = 32;  // of tensors; what general.alignment says
};
// Those of a GGUF checkpoint's first file, byte for byte, but for keys that say how that one was quantised or split.
// Errors: kBadInput as ReadGgufFile.
GgufPairs CarryOverPairs(const Checkpoint& checkpoint, uint32_t file_type);
// Of a JSON object of strings, bools, numbers (integers as u32, in arrays as i32, others as f32) and arrays of one of them.
GgufPairs PairsOfJson(const nlohmann::json& metadata, uint32_t file_type);

struct GgufOutputTensor {
  std::string name;
  std::vector<uint64_t> shape;  // row-major, outermost first
  const kernels::TypeInfo* info;
  uint64_t bytes = 0;   // of its data
  uint64_t offset = 0;  // from the start of the file
};

struct GgufLayout {
  std::string header;  // with the padding before the data
  std::vector<GgufOutputTensor> tensors;
  uint64_t file_bytes = 0;
};

// Fills in bytes and offsets of tensors.
GgufLayout LayOutGguf(const GgufPairs& pairs, std::vector<GgufOutputTensor> tensors);

}  // namespace onecopy
