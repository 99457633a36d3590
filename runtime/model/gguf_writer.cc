#include "runtime/model/gguf_writer.h"

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/model/gguf.h"
#include "runtime/model/gguf_types.h"

namespace onecopy {
namespace {

using namespace gguf;

constexpr uint32_t kQuantizationVersion = 2;  // ggml's GGML_QNT_VERSION

template <typename T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}
void PutText(const std::string& text, std::string* out) {
  Put<uint64_t>(text.size(), out);
  *out += text;
}

std::string CopyText(HeaderFile& file, std::string* out) {
  std::string text = file.ReadString(file.Read<uint64_t>());
  PutText(text, out);
  return text;
}

// The value of a pair, whose rules ReadGgufMetadata has checked.
void CopyValue(HeaderFile& file, uint32_t type, std::string* out) {
  if (type == kString) {
    CopyText(file, out);
    return;
  }
  if (type != kArray) {
    *out += file.ReadString(kMinBytes.at(type));
    return;
  }
  const auto element = file.Read<uint32_t>();
  const auto count = file.Read<uint64_t>();
  Put(element, out);
  Put(count, out);
  if (element == kString) {
    for (uint64_t i = 0; i < count; ++i) CopyText(file, out);
  } else {
    *out += file.ReadString(count * kMinBytes.at(element));
  }
}

bool IsReplaced(const std::string& key) {
  return key == "general.file_type" || key == "general.quantization_version" || key.rfind("split.", 0) == 0;
}

void PutU32Pair(const std::string& key, uint32_t value, std::string* out) {
  PutText(key, out);
  Put(kU32, out);
  Put(value, out);
}

uint32_t TypeOfValue(const nlohmann::json& value, bool in_array) {
  if (value.is_string()) return kString;
  if (value.is_boolean()) return kBool;
  if (value.is_array()) return kArray;
  ONECOPY_CHECK(value.is_number());
  if (value.is_number_float()) return kF32;
  return in_array || value.get<int64_t>() < 0 ? kI32 : kU32;
}

void PutValue(uint32_t type, const nlohmann::json& value, std::string* out) {
  switch (type) {
    case kString:
      return PutText(value.get_ref<const std::string&>(), out);
    case kBool:
      return Put<uint8_t>(value.get<bool>() ? 1 : 0, out);
    case kF32:
      return Put(value.get<float>(), out);
    case kI32:
      return Put(value.get<int32_t>(), out);
    case kU32:
      return Put(value.get<uint32_t>(), out);
    default: {
      const uint32_t element = value.empty() ? kU32 : TypeOfValue(value[0], true);
      Put(element, out);
      Put<uint64_t>(value.size(), out);
      for (const nlohmann::json& one : value) PutValue(element, one, out);
    }
  }
}

void AddFileType(uint32_t file_type, GgufPairs* pairs) {
  PutU32Pair("general.file_type", file_type, &pairs->bytes);
  PutU32Pair("general.quantization_version", kQuantizationVersion, &pairs->bytes);
  pairs->count += 2;
}

}  // namespace

GgufPairs CarryOverPairs(const Checkpoint& checkpoint, uint32_t file_type) {
  ONECOPY_CHECK(checkpoint.format == CheckpointFormat::kGguf);
  GgufPairs pairs;
  pairs.alignment = checkpoint.metadata.value("general.alignment", pairs.alignment);
  HeaderFile file(checkpoint.files[0], kMaxGgufHeaderBytes);
  file.ReadString(16);  // magic, version, tensor count: checked when the checkpoint was opened
  const auto count = file.Read<uint64_t>();
  for (uint64_t i = 0; i < count; ++i) {
    std::string pair;
    const std::string key = CopyText(file, &pair);
    const auto type = file.Read<uint32_t>();
    Put(type, &pair);
    CopyValue(file, type, &pair);
    if (IsReplaced(key)) continue;
    pairs.bytes += pair;
    ++pairs.count;
  }
  AddFileType(file_type, &pairs);
  return pairs;
}

GgufPairs PairsOfJson(const nlohmann::json& metadata, uint32_t file_type) {
  GgufPairs pairs;
  for (const auto& [key, value] : metadata.items()) {
    const uint32_t type = TypeOfValue(value, false);
    PutText(key, &pairs.bytes);
    Put(type, &pairs.bytes);
    PutValue(type, value, &pairs.bytes);
    ++pairs.count;
  }
  AddFileType(file_type, &pairs);
  return pairs;
}

GgufLayout LayOutGguf(const GgufPairs& pairs, std::vector<GgufOutputTensor> tensors) {
  GgufLayout layout;
  layout.header = "GGUF";
  Put<uint32_t>(3, &layout.header);
  Put<uint64_t>(tensors.size(), &layout.header);
  Put<uint64_t>(pairs.count, &layout.header);
  layout.header += pairs.bytes;

  uint64_t in_data = 0;
  for (GgufOutputTensor& tensor : tensors) {
    uint64_t rows = 1;
    for (size_t d = 0; d + 1 < tensor.shape.size(); ++d) rows *= tensor.shape[d];
    tensor.bytes = rows * kernels::RowBytes(*tensor.info, tensor.shape.back());
    tensor.offset = in_data;
    in_data = RoundUp(in_data + tensor.bytes, pairs.alignment);
    PutText(tensor.name, &layout.header);
    Put<uint32_t>(static_cast<uint32_t>(tensor.shape.size()), &layout.header);
    for (size_t i = tensor.shape.size(); i-- > 0;) Put<uint64_t>(tensor.shape[i], &layout.header);
    Put<uint32_t>(tensor.info->ggml_type, &layout.header);
    Put<uint64_t>(tensor.offset, &layout.header);
  }
  layout.header.resize(RoundUp(layout.header.size(), pairs.alignment));
  for (GgufOutputTensor& tensor : tensors) tensor.offset += layout.header.size();
  layout.file_bytes = layout.header.size() + in_data;
  layout.tensors = std::move(tensors);
  return layout;
}

}  // namespace onecopy
