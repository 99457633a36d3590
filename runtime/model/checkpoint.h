// Checkpoint: the headers of a model on disk, GGUF or Hugging Face directory, behind one face. No weight is
// read. Immutable after OpenCheckpoint. Every size, offset and count has been checked against the file when
// it returns. Sources: GGUF specification v3 (ggml docs/gguf.md), safetensors format (safetensors README).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/types.h"
#include "runtime/base/file_stamp.h"

namespace onecopy {

struct TensorInfo {
  std::string name;
  // Type name as the file has it ("Q4_K", "BF16", "F8_E4M3"); info is null for one that onecopy cannot size.
  std::string type_name;
  const kernels::TypeInfo* info = nullptr;
  // Row-major, outermost first: a GGUF [in, out, experts] is {experts, out, in} here.
  std::vector<uint64_t> shape;
  uint32_t file = 0;    // index into Checkpoint::files
  uint64_t offset = 0;  // of the data, in bytes from the start of that file
  uint64_t bytes = 0;
};

enum class CheckpointFormat { kGguf, kHuggingFace };

// Whether the weights themselves must be there. kMayBeAbsent: a weight file that ends with its headers is accepted
// too, as from the first megabytes of a download; enough to plan, not to load.
enum class Data { kRequired, kMayBeAbsent };

struct Checkpoint {
  std::string path;  // as given
  CheckpointFormat format = CheckpointFormat::kGguf;
  std::vector<std::string> files;      // weight files
  std::vector<uint64_t> file_bytes;    // as the headers say, for a file without data
  std::vector<FileStamp> file_stamps;  // before the headers were read
  bool data_absent = false;            // at least one weight file ends with its headers
  // GGUF: every key of the (first) file as it is spelled, "qwen3moe.block_count": 48. Integers, floats,
  // strings, bools and arrays of them keep their kind. Hugging Face: the content of config.json.
  nlohmann::json metadata;
  // Hugging Face: tokenizer.json, tokenizer_config.json, generation_config.json, chat_template; null where
  // absent.
  nlohmann::json tokenizer, tokenizer_config, generation_config;
  // Where there is no tokenizer.json: the content of tokenizer.model or tiktoken.model, and which; else empty.
  std::string vocabulary, vocabulary_file;
  std::vector<TensorInfo> tensors;  // in file order

  // nullptr when there is no tensor of that name.
  const TensorInfo* Find(const std::string& name) const;
  std::unordered_map<std::string, size_t> index;  // name -> position in tensors
};

// path: a GGUF file (the first of a split set opens all), or a directory with config.json and safetensors
// files. A GGUF without tensors (vocabulary only) is accepted here and refused by BuildModelSpec. Errors:
// kBadInput, naming file, field and reason; also for a file that ends in the middle of its data, whatever `data` is.
Checkpoint OpenCheckpoint(const std::string& path, Data data = Data::kRequired);

}  // namespace onecopy
