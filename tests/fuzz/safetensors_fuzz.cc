// A safetensors file, with its length, header and data.
#include "runtime/base/check.h"
#include "runtime/model/safetensors.h"
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  static MemoryFile file;
  file.Write(View(data, size));
  const Budget budget(1, (1 << 20) + 300 * size);
  SafetensorsFile read;
  const bool whole = Takes([&] { read = ReadSafetensorsFile(file.path()); }, file.path());
  SafetensorsFile header;
  const bool may_be_absent =
      Takes([&] { header = ReadSafetensorsFile(file.path(), Data::kMayBeAbsent); }, file.path());
  Require(may_be_absent || !whole, "a whole file is refused where data may be absent");
  if (!may_be_absent) return 0;
  Require(header.data_absent || (whole && read.bytes == size), "a file of {} bytes has {}", size, read.bytes);
  // The data section is filled without hole and overlap.
  uint64_t end = header.bytes;
  for (const TensorInfo& tensor : header.tensors) end = std::min(end, tensor.offset);
  for (const TensorInfo& tensor : header.tensors) {
    Require(tensor.offset == end && CheckedAdd(end, tensor.bytes).has_value(), "a hole before byte {}",
            tensor.offset);
    end += tensor.bytes;
  }
  Require(end == header.bytes, "the tensors end at {}, the file at {}", end, header.bytes);
  return 0;
}
