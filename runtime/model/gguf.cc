#include "runtime/model/gguf.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "kernels/types.h"
#include "runtime/base/check.h"
#include "runtime/base/printable.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using nlohmann::json;

constexpr uint64_t kFixedHeaderBytes = 24;  // magic, version, tensor count, key count
constexpr uint64_t kMaxNameBytes = 64;      // by the specification
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = 1 << 20;

struct Counts {
  uint64_t tensors, keys;
};

Counts ReadFixedHeader(HeaderFile& file) {
  if (file.size() < kFixedHeaderBytes) {
    file.Reject("not a GGUF file: expected at least {} bytes, found {}", kFixedHeaderBytes, file.size());
  }
  char magic[4];
  file.Read(magic, sizeof magic);
  if (std::memcmp(magic, "GGUF", sizeof magic) != 0) {
    file.Reject("not a GGUF file: expected the magic \"GGUF\" at its start, found \"{}\"",
                Printable({magic, sizeof magic}));
  }
  const auto version = file.Read<uint32_t>();
  if (version != 2 && version != 3) {
    const bool swapped = __builtin_bswap32(version) <= 3 && version != 0;
    file.Reject("expected GGUF version 2 or 3, found {}{}", version, swapped ? " (a big-endian file)" : "");
  }
  Counts counts;
  counts.tensors = file.Read<uint64_t>();
  counts.keys = file.Read<uint64_t>();
  file.Require(counts.tensors, kMinTensorBytes, "tensors");
  if (counts.tensors > kMaxGgufTensors) {
    file.Reject("expected at most {} tensors, found {}", kMaxGgufTensors, counts.tensors);
  }
  return counts;
}

uint64_t Alignment(const HeaderFile& file, const json& metadata) {
  const auto found = metadata.find("general.alignment");
  if (found == metadata.end()) return kDefaultAlignment;
  // The specification says uint32; any other integer type that holds a valid value is taken too.
  const uint64_t value = found->is_number_integer() && *found > 0 ? found->get<uint64_t>() : 0;
  if (value < 8 || value > kMaxAlignment || (value & (value - 1)) != 0) {
    file.Reject("general.alignment: expected a power of two from 8 to {}, found {}", kMaxAlignment,
                ShownJson(*found));
  }
  return value;
}

std::string ReadName(HeaderFile& file, uint64_t number) {
  file.SetContext(fmt::format("tensor {}", number));
  const auto bytes = file.Read<uint64_t>();
  if (bytes == 0 || bytes > kMaxNameBytes) {
    file.Reject("expected a name of 1 to {} bytes, found {}", kMaxNameBytes, bytes);
  }
  std::string name = file.ReadString(bytes);
  file.SetContext(fmt::format("tensor \"{}\"", Printable(name)));
  if (name.find('\0') != std::string::npos || !IsUtf8(name)) file.Reject("the name is not UTF-8 text");
  return name;
}

// Bytes of the tensor, from its checked shape and type.
uint64_t TensorBytes(const HeaderFile& file, const TensorInfo& tensor) {
  std::optional<uint64_t> elements = 1;
  for (const uint64_t dim : tensor.shape) {
    elements = CheckedMul(*elements, dim);
    // Signed, since other programs count elements in int64.
    if (!elements || *elements > INT64_MAX) {
      file.Reject("the dimensions [{}] have more than 2^63 elements", fmt::join(tensor.shape, ", "));
    }
  }
  const uint64_t cols = tensor.shape.back();
  if (cols % tensor.info->block_cols != 0) {
    file.Reject("expected rows of whole {} blocks, a multiple of {} columns, found {}", tensor.type_name,
                tensor.info->block_cols, cols);
  }
  const std::optional<uint64_t> bytes =
      CheckedMul(*elements / tensor.info->block_cols, tensor.info->block_bytes);
  if (!bytes) file.Reject("the dimensions [{}] have more than 2^64 bytes", fmt::join(tensor.shape, ", "));
  return *bytes;
}

// Offset is relative to the data section here.
TensorInfo ReadTensor(HeaderFile& file, uint64_t number, uint64_t alignment) {
  TensorInfo tensor;
  tensor.name = ReadName(file, number);
  const auto n_dims = file.Read<uint32_t>();
  if (n_dims < 1 || n_dims > 4) file.Reject("expected 1 to 4 dimensions, found {}", n_dims);
  tensor.shape.resize(n_dims);
  for (uint32_t i = 0; i < n_dims; ++i) {
    const auto dim = file.Read<uint64_t>();
    if (dim == 0 || dim > INT64_MAX) {
      file.Reject("dimension {}: expected a size from 1 to 2^63 - 1, found {}", i, static_cast<int64_t>(dim));
    }
    tensor.shape[n_dims - 1 - i] = dim;  // GGUF has the innermost first
  }
  const auto type = file.Read<uint32_t>();
  tensor.info = kernels::FindGgmlType(type);
  if (tensor.info == nullptr) file.Reject("GGML type {} is unknown or was removed from the format", type);
  tensor.type_name = tensor.info->name;
  tensor.bytes = TensorBytes(file, tensor);
  tensor.offset = file.Read<uint64_t>();
  if (tensor.offset % alignment != 0) {
    file.Reject("offset {} is not a multiple of the alignment, {}", tensor.offset, alignment);
  }
  return tensor;
}

// Where the file ends when all its data is there: writers pad the last tensor like the others.
uint64_t AnnouncedEnd(const HeaderFile& file, uint64_t data_begin, uint64_t alignment,
                      const std::vector<TensorInfo>& tensors) {
  uint64_t end = data_begin;
  for (const TensorInfo& tensor : tensors) {
    const std::optional<uint64_t> in_data = CheckedAdd(tensor.offset, tensor.bytes);
    const std::optional<uint64_t> in_file = in_data ? CheckedAdd(data_begin, *in_data) : std::nullopt;
    if (!in_file || *in_file > INT64_MAX) {
      file.Reject("tensor \"{}\" of {} bytes at offset {} of the data ends beyond what a file can hold",
                  Printable(tensor.name), tensor.bytes, tensor.offset);
    }
    end = std::max(end, *in_file);
  }
  return RoundUp(end, alignment);
}

// Makes offsets absolute and refuses tensors that leave the file, of file_bytes, or share bytes.
void PlaceTensors(HeaderFile& file, uint64_t data_begin, uint64_t file_bytes,
                  std::vector<TensorInfo>* tensors) {
  for (TensorInfo& tensor : *tensors) {
    const std::optional<uint64_t> begin = CheckedAdd(data_begin, tensor.offset);
    const std::optional<uint64_t> end = begin ? CheckedAdd(*begin, tensor.bytes) : std::nullopt;
    if (!end || *end > file_bytes) {
      file.Reject(
          "tensor \"{}\" of {} bytes at offset {} of the data ends beyond the file, which has {} bytes; was "
          "it downloaded completely?",
          Printable(tensor.name), tensor.bytes, tensor.offset, file_bytes);
    }
    tensor.offset = *begin;
  }
  std::vector<size_t> order(tensors->size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return (*tensors)[a].offset < (*tensors)[b].offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorInfo& before = (*tensors)[order[i - 1]];
    const TensorInfo& after = (*tensors)[order[i]];
    if (before.offset + before.bytes > after.offset) {
      file.Reject("tensors \"{}\" and \"{}\" overlap at byte {}", Printable(before.name),
                  Printable(after.name), after.offset);
    }
  }
}

}  // namespace

GgufFile ReadGgufFile(const std::string& path, Data data) {
  HeaderFile file(path, kMaxGgufHeaderBytes);
  const Counts counts = ReadFixedHeader(file);
  GgufFile gguf;
  gguf.bytes = file.size();
  gguf.stamp = file.stamp();
  gguf.metadata = ReadGgufMetadata(file, counts.keys);
  const uint64_t alignment = Alignment(file, gguf.metadata);
  file.Require(counts.tensors, kMinTensorBytes, "tensors");
  gguf.tensors.reserve(counts.tensors);
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < counts.tensors; ++i) {
    gguf.tensors.push_back(ReadTensor(file, i, alignment));
    if (!names.insert(gguf.tensors.back().name).second) file.Reject("two tensors have this name");
  }
  file.SetContext("");
  const uint64_t data_begin = RoundUp(file.offset(), alignment);
  // Behind the headers at most padding, and so no byte of a tensor.
  if (data == Data::kMayBeAbsent && !gguf.tensors.empty() && file.size() <= data_begin) {
    gguf.data_absent = true;
    gguf.bytes = AnnouncedEnd(file, data_begin, alignment, gguf.tensors);
  }
  PlaceTensors(file, data_begin, gguf.bytes, &gguf.tensors);
  CheckGgufVocabulary(path, gguf.metadata);
  return gguf;
}

}  // namespace onecopy
