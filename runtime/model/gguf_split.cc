// Split sets: "name-00001-of-00003.gguf" and its followers. The first part has the model's metadata, every
// part its own tensors and the three split.* keys.
#include <filesystem>
#include <utility>

#include "runtime/base/printable.h"
#include "runtime/model/gguf.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxParts = 99999;  // five digits in the name

std::string PartSuffix(uint64_t part, uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", part + 1, count);
}

// A split.* key; `fallback` when absent. Their integer types differ between writers (u16, i32), so any is
// taken.
uint64_t SplitKey(const std::string& path, const json& metadata, const char* key, uint64_t fallback) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return fallback;
  if (!found->is_number_integer() || *found < 0) {
    Fail(ErrorCode::kBadInput, "{}: {}: expected a count, found {}", path, key, ShownJson(*found));
  }
  return found->get<uint64_t>();
}

// The part's path without its suffix, or an error when it is not named as part `part` of `count`.
std::string Stem(const std::string& path, uint64_t part, uint64_t count) {
  const std::string suffix = PartSuffix(part, count);
  if (path.size() <= suffix.size() || path.compare(path.size() - suffix.size(), suffix.size(), suffix) != 0) {
    Fail(ErrorCode::kBadInput,
         "{}: split.no and split.count say part {} of {}: expected a file name that ends in {}, which is how "
         "the other "
         "parts are found; rename it",
         path, part + 1, count, suffix);
  }
  return path.substr(0, path.size() - suffix.size());
}

// Refuses a part whose split.* keys or other shared keys contradict the first part's.
void CheckPart(const std::string& path, const GgufFile& part, uint64_t number, const json& first) {
  const uint64_t found = SplitKey(path, part.metadata, "split.no", UINT64_MAX);
  if (found != number) {
    Fail(ErrorCode::kBadInput, "{}: split.no: expected {}, found {}", path, number,
         found == UINT64_MAX ? "none" : std::to_string(found));
  }
  for (const auto& [key, value] : part.metadata.items()) {
    if (key == "split.no" || !first.contains(key) || first.at(key) == value) continue;
    Fail(ErrorCode::kBadInput, "{}: {} differs from the first part's: the parts are of different models",
         path, Printable(key));
  }
  if (!part.metadata.contains("split.count")) Fail(ErrorCode::kBadInput, "{}: split.count is missing", path);
}

void Append(Checkpoint* checkpoint, const std::string& path, GgufFile part) {
  const auto file = static_cast<uint32_t>(checkpoint->files.size());
  checkpoint->files.push_back(path);
  checkpoint->file_bytes.push_back(part.bytes);
  checkpoint->file_stamps.push_back(part.stamp);
  checkpoint->data_absent |= part.data_absent;
  for (TensorInfo& tensor : part.tensors) {
    tensor.file = file;
    const auto [at, added] = checkpoint->index.emplace(tensor.name, checkpoint->tensors.size());
    if (!added) {
      Fail(ErrorCode::kBadInput, "{}: tensor \"{}\" is in {} too", path, Printable(tensor.name),
           checkpoint->files[checkpoint->tensors[at->second].file]);
    }
    checkpoint->tensors.push_back(std::move(tensor));
  }
}

}  // namespace

Checkpoint OpenGguf(const std::string& path, Data data) {
  GgufFile first = ReadGgufFile(path, data);
  Checkpoint checkpoint;
  checkpoint.path = path;
  checkpoint.format = CheckpointFormat::kGguf;
  checkpoint.metadata = std::move(first.metadata);
  Append(&checkpoint, path, std::move(first));

  const json& metadata = checkpoint.metadata;
  const uint64_t count = SplitKey(path, metadata, "split.count", 1);
  const uint64_t number = SplitKey(path, metadata, "split.no", 0);
  if (count <= 1 && number == 0) return checkpoint;
  if (count > kMaxParts || number >= count) {
    Fail(ErrorCode::kBadInput,
         "{}: split.no, split.count: expected a part below the count, at most {}, found {} of {}", path,
         kMaxParts, number, count);
  }
  const std::string stem = Stem(path, number, count);
  if (number != 0) {
    Fail(ErrorCode::kBadInput, "{}: this is part {} of {} of a split model; name its first file, {}", path,
         number + 1, count, stem + PartSuffix(0, count));
  }
  for (uint64_t part = 1; part < count; ++part) {
    const std::string part_path = stem + PartSuffix(part, count);
    std::error_code ignored;
    if (!std::filesystem::exists(part_path, ignored)) {
      Fail(ErrorCode::kBadInput, "{}: split.count: expected {} parts, but part {}, {}, is missing", path,
           count, part + 1, part_path);
    }
    GgufFile gguf = ReadGgufFile(part_path, data);
    CheckPart(part_path, gguf, part, metadata);
    Append(&checkpoint, part_path, std::move(gguf));
  }
  const uint64_t expected = SplitKey(path, metadata, "split.tensors.count", checkpoint.tensors.size());
  if (expected != checkpoint.tensors.size()) {
    Fail(ErrorCode::kBadInput, "{}: split.tensors.count: expected {} tensors in {} parts, found {}", path,
         expected, count, checkpoint.tensors.size());
  }
  return checkpoint;
}

}  // namespace onecopy
