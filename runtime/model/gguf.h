// GGUF files, versions 2 and 3, little-endian: headers only. Every rule that a hostile file may break is
// checked before memory is taken for what the file announces. Source: GGUF specification v3 (ggml
// docs/gguf.md), split files as llama-gguf-split writes them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/model/checkpoint.h"
#include "runtime/model/header_file.h"

namespace onecopy {

// Real headers stay below 20 MB and half a million array elements; a file that claims more is refused.
inline constexpr uint64_t kMaxGgufHeaderBytes = 256ull << 20;
inline constexpr uint64_t kMaxGgufArrayElements = 1ull << 24;  // over all arrays of a file
inline constexpr uint64_t kMaxGgufKeys = 1ull << 16;
inline constexpr uint64_t kMaxGgufTensors = 1ull << 20;

// One file; tensors have file = 0.
struct GgufFile {
  uint64_t bytes = 0;  // of the file; without data, as the headers say
  FileStamp stamp;
  bool data_absent = false;  // it ends with its headers, or in the padding behind them
  nlohmann::json metadata;
  std::vector<TensorInfo> tensors;
};

// Errors: kBadInput.
GgufFile ReadGgufFile(const std::string& path, Data data = Data::kRequired);

// A checkpoint of one file, or of all parts when path is the first part of a split set. Errors: kBadInput,
// also for a missing part, one of another model, or a path that is not the first part.
Checkpoint OpenGguf(const std::string& path, Data data = Data::kRequired);

// The n_keys key-value pairs at file's position, as one object. Arrays of arrays are refused.
nlohmann::json ReadGgufMetadata(HeaderFile& file, uint64_t n_keys);

// Refuses a vocabulary that contradicts itself: lists of unequal length, BOS or EOS outside it, malformed
// byte tokens.
void CheckGgufVocabulary(const std::string& path, const nlohmann::json& metadata);

}  // namespace onecopy
