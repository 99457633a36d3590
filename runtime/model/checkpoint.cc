#include "runtime/model/checkpoint.h"

#include <filesystem>

#include "runtime/base/error.h"
#include "runtime/model/gguf.h"
#include "runtime/model/hugging_face.h"

namespace onecopy {

const TensorInfo* Checkpoint::Find(const std::string& name) const {
  const auto found = index.find(name);
  return found == index.end() ? nullptr : &tensors[found->second];
}

Checkpoint OpenCheckpoint(const std::string& path, Data data) {
  std::error_code ignored;  // what cannot be looked at is reported by OpenGguf
  const std::filesystem::path as_path(path);
  if (std::filesystem::is_directory(as_path, ignored)) return OpenHuggingFace(path, data);
  if (as_path.extension() == ".safetensors") {
    Fail(ErrorCode::kBadInput, "{}: a safetensors file says nothing about its model; name its directory, {}",
         path, as_path.has_parent_path() ? as_path.parent_path().string() : ".");
  }
  return OpenGguf(path, data);
}

}  // namespace onecopy
