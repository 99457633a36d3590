// Writes a GGUF file, version 3, from a checkpoint whose metadata it carries over byte for byte. Source: GGUF specification v3
// (ggml docs/gguf.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/model/checkpoint.h"

namespace onecopy {

// A tensor of the new file: name and shape of the old one, perhaps another type.
struct GgufOutputTensor {
  const TensorInfo* source;
  const kernels::TypeInfo* info;
  uint64_t bytes = 0;   // of its data
  uint64_t offset = 0;  // from the start of the file
};

struct GgufLayout {
  std::string header;  // with the padding before the data
  std::vector<GgufOutputTensor> tensors;
  uint64_t file_bytes = 0;
};

// Header and places of a file with the metadata of the checkpoint's first file, but for keys that say how that one was
// quantised or split, with general.file_type `file_type` (llama.cpp's llama_ftype) instead. Fills in bytes and offsets of
// tensors. Errors: kBadInput as ReadGgufFile.
GgufLayout LayOutGguf(const Checkpoint& checkpoint, std::vector<GgufOutputTensor> tensors,
                      uint32_t file_type);

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
