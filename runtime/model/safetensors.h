// Safetensors files: headers only, checked against the file before anything is believed.
// Source: the format section of the safetensors README; stricter than the reference reader where that lets
// errors pass.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/model/checkpoint.h"

namespace onecopy {

inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;  // the reference reader's limit

struct SafetensorsFile {
  uint64_t bytes = 0;  // of the file; without data, as the header says
  FileStamp stamp;
  bool data_absent = false;         // it ends with its header
  std::vector<TensorInfo> tensors;  // by offset; file = 0
};

// Errors: kBadInput, naming file, tensor and reason.
SafetensorsFile ReadSafetensorsFile(const std::string& path, Data data = Data::kRequired);

}  // namespace onecopy
