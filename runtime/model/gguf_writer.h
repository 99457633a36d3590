// Writes a GGUF file, version 3: its header, from metadata that another file has or that is given as JSON, and the file
// itself. Source: GGUF specification v3 (ggml docs/gguf.md).
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

// A file that appears under its name only when it is complete: written in order to path.part, then renamed. What was written
// is removed when it is not finished. Not thread-safe.
class NewFile {
 public:
  // Errors: kBadInput where it cannot be created, or the file system has less than `bytes` free.
  NewFile(std::string path, uint64_t bytes);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Errors: kBadInput with the reason, as that the disk is full.
  void Write(const void* data, uint64_t bytes);
  void PadTo(uint64_t offset);  // zeros
  void Finish();                // all on disk and in its place

 private:
  [[noreturn]] void FailToWrite(int error) const;

  const std::string path_, part_;
  int fd_ = -1;
  uint64_t written_ = 0;
};

}  // namespace onecopy
