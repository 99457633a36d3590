#include "runtime/model/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "kernels/types.h"
#include "runtime/base/check.h"
#include "runtime/base/printable.h"
#include "runtime/model/header_file.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using nlohmann::json;

constexpr size_t kMaxDims = 8;  // no weight has more; bounds what a header can make us hold

struct Dtype {
  std::string_view name;
  uint32_t bits;
};
// What the format defines. onecopy computes with the first three; the others are known by name and size only.
constexpr Dtype kDtypes[] = {{"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F64", 64},    {"I64", 64},
                             {"I32", 32},    {"I16", 16},    {"I8", 8},      {"U64", 64},    {"U32", 32},
                             {"U16", 16},    {"U8", 8},      {"BOOL", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8},
                             {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"C64", 64}};
constexpr size_t kComputable = 3;

// Takes the header from nlohmann's SAX events without building it as JSON: a header is at most
// {"name": {"dtype": "…", "shape": […], "data_offsets": […, …]}, "__metadata__": {"…": "…"}}, and anything
// else is refused where it begins.
class HeaderHandler final : public nlohmann::json_sax<json> {
 public:
  explicit HeaderHandler(const HeaderFile& file) : file_(file) {}
  std::vector<TensorInfo> TakeTensors() { return std::move(tensors_); }

  bool null() override { Unexpected("null"); }
  bool boolean(bool) override { Unexpected("a bool"); }
  bool number_integer(int64_t value) override { Unexpected(fmt::format("{}", value)); }
  bool number_float(double, const std::string& text) override { Unexpected(Printable(text)); }
  bool binary(json::binary_t&) override { Unexpected("binary data"); }

  bool number_unsigned(uint64_t value) override {
    if (place_ == Place::kShape) {
      if (tensors_.back().shape.size() == kMaxDims) Reject("shape: expected at most {} dimensions", kMaxDims);
      tensors_.back().shape.push_back(value);
    } else if (place_ == Place::kOffsets) {
      if (n_offsets_ == 2) Reject("data_offsets: expected two numbers, found more");
      offsets_[n_offsets_++] = value;
    } else {
      Unexpected(fmt::format("{}", value));
    }
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) return true;  // free text: nothing of it is used
    if (place_ != Place::kTensor || field_ != Field::kDtype)
      Unexpected(fmt::format("\"{}\"", Printable(value)));
    tensors_.back().type_name = std::move(value);
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop) {
      place_ = last_name_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
      if (place_ == Place::kTensor) BeginTensor();
    } else {
      Unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) EndTensor();
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool key(std::string& name) override {
    if (place_ == Place::kTop) {
      if (name.empty() || name.find('\0') != std::string::npos)
        file_.Reject("a tensor's name is empty or has a NUL");
      last_name_ = name;
      if (!names_.insert(name).second) Reject("the header has this name twice");
    } else if (place_ == Place::kTensor) {
      field_ = name == "dtype"          ? Field::kDtype
               : name == "shape"        ? Field::kShape
               : name == "data_offsets" ? Field::kOffsets
                                        : Field::kUnknown;
      if (field_ == Field::kUnknown) Reject("unknown field \"{}\"", Printable(name));
      if (seen_[static_cast<size_t>(field_)]) Reject("{} is there twice", name);
      seen_[static_cast<size_t>(field_)] = true;
    }
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || (field_ != Field::kShape && field_ != Field::kOffsets))
      Unexpected("an array");
    place_ = field_ == Field::kShape ? Place::kShape : Place::kOffsets;
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(size_t byte, const std::string&, const json::exception& error) override {
    file_.Reject("the header is not valid JSON at its byte {}: {}", byte, JsonReason(error));
  }

 private:
  enum class Place { kStart, kTop, kTensor, kShape, kOffsets, kMetadata, kEnd };
  enum class Field { kDtype, kShape, kOffsets, kUnknown };

  template <typename... Args>
  [[noreturn]] void Reject(fmt::format_string<Args...> format, Args&&... args) const {
    file_.Reject("tensor \"{}\": {}", Printable(last_name_),
                 fmt::format(format, std::forward<Args>(args)...));
  }

  [[noreturn]] void Unexpected(const std::string& found) const {
    if (place_ == Place::kStart) file_.Reject("expected a JSON object as header, found {}", found);
    if (place_ == Place::kShape) Reject("shape: expected whole numbers from 0, found {}", found);
    if (place_ == Place::kOffsets) Reject("data_offsets: expected whole numbers from 0, found {}", found);
    if (place_ == Place::kMetadata) file_.Reject("__metadata__: expected only strings, found {}", found);
    if (place_ == Place::kTop)
      Reject("expected an object with dtype, shape and data_offsets, found {}", found);
    constexpr const char* kNames[] = {"dtype: expected a string", "shape: expected an array",
                                      "data_offsets: expected an array"};
    Reject("{}, found {}", kNames[static_cast<size_t>(field_)], found);
  }

  void BeginTensor() {
    tensors_.emplace_back().name = last_name_;
    std::fill(std::begin(seen_), std::end(seen_), false);
    n_offsets_ = 0;
  }

  // Offsets are relative to the data section here.
  void EndTensor() {
    TensorInfo& tensor = tensors_.back();
    if (!seen_[0] || !seen_[1] || !seen_[2])
      Reject("expected dtype, shape and data_offsets, of which some are missing");
    if (n_offsets_ != 2) Reject("data_offsets: expected two numbers, found {}", n_offsets_);
    const auto* dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                     [&](const Dtype& known) { return known.name == tensor.type_name; });
    if (dtype == std::end(kDtypes))
      Reject("dtype \"{}\" is not one of the format's", Printable(tensor.type_name));
    if (dtype < kDtypes + kComputable) tensor.info = kernels::FindTypeByName(tensor.type_name.c_str());
    std::optional<uint64_t> bits = dtype->bits;
    for (const uint64_t dim : tensor.shape) {
      bits = CheckedMul(*bits, dim);
      if (!bits) Reject("the shape [{}] has more than 2^64 bits", fmt::join(tensor.shape, ", "));
    }
    if (*bits % 8 != 0)
      Reject("the shape [{}] of {} is not a whole number of bytes", fmt::join(tensor.shape, ", "),
             tensor.type_name);
    tensor.bytes = *bits / 8;
    tensor.offset = offsets_[0];
    if (offsets_[0] > offsets_[1]) {
      Reject("data_offsets: expected begin <= end, found [{}, {}]", offsets_[0], offsets_[1]);
    }
    if (offsets_[1] - offsets_[0] != tensor.bytes) {
      Reject("data_offsets: expected {} bytes for {} of shape [{}], found {}", tensor.bytes, tensor.type_name,
             fmt::join(tensor.shape, ", "), offsets_[1] - offsets_[0]);
    }
  }

  const HeaderFile& file_;
  std::vector<TensorInfo> tensors_;
  std::unordered_set<std::string> names_;
  std::string last_name_;
  Place place_ = Place::kStart;
  Field field_ = Field::kUnknown;
  bool seen_[3] = {};  // by Field
  uint64_t offsets_[2] = {};
  size_t n_offsets_ = 0;
};

// Bytes of the data section that the tensors ask for. A sum beyond 64 bits becomes the greatest number, which no file
// has.
uint64_t AnnouncedBytes(const std::vector<TensorInfo>& tensors) {
  uint64_t end = 0;
  for (const TensorInfo& tensor : tensors)
    end = std::max(end, CheckedAdd(tensor.offset, tensor.bytes).value_or(UINT64_MAX));
  return end;
}

// Makes offsets absolute; the tensors must fill the data section, of data_bytes, without hole or overlap.
void PlaceSafetensors(const HeaderFile& file, uint64_t data_begin, uint64_t data_bytes,
                      std::vector<TensorInfo>* tensors) {
  std::sort(tensors->begin(), tensors->end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  for (const TensorInfo& tensor : *tensors) {
    if (tensor.bytes > data_bytes || tensor.offset > data_bytes - tensor.bytes) {
      file.Reject(
          "tensor \"{}\": data_offsets end at {}, but the file has only {} bytes of data; was it downloaded "
          "completely?",
          Printable(tensor.name), tensor.offset + tensor.bytes, data_bytes);
    }
  }
  uint64_t end = 0;
  for (TensorInfo& tensor : *tensors) {
    if (tensor.offset != end) {
      file.Reject("tensor \"{}\": data_offsets begin at {}, {} bytes {} the end of the tensor before it",
                  Printable(tensor.name), tensor.offset,
                  std::max(tensor.offset, end) - std::min(tensor.offset, end),
                  tensor.offset < end ? "before (an overlap)" : "after (a hole)");
    }
    end += tensor.bytes;
    tensor.offset += data_begin;
  }
  if (end != data_bytes)
    file.Reject("expected {} bytes of data, found {} trailing bytes", end, data_bytes - end);
}

}  // namespace

SafetensorsFile ReadSafetensorsFile(const std::string& path, Data data) {
  HeaderFile file(path, kMaxSafetensorsHeaderBytes + 8);
  if (file.size() < 8)
    file.Reject("not a safetensors file: expected at least 8 bytes, found {}", file.size());
  const auto header_bytes = file.Read<uint64_t>();
  if (header_bytes < 2 || header_bytes > kMaxSafetensorsHeaderBytes) {
    file.Reject("header length: expected 2 to {} bytes, found {}", kMaxSafetensorsHeaderBytes, header_bytes);
  }
  if (header_bytes > file.Remaining()) {
    file.Reject("header length: {} bytes announced, but the file has only {} bytes left", header_bytes,
                file.Remaining());
  }
  std::string header(1, file.Read<char>());
  if (header[0] != '{')
    file.Reject("expected a JSON object as header, found \"{}\" at its start", Printable(header));
  header += file.ReadString(header_bytes - 1);

  HeaderHandler handler(file);
  json::sax_parse(header, &handler);  // either true or thrown
  SafetensorsFile result;
  result.tensors = handler.TakeTensors();
  const uint64_t data_begin = 8 + header_bytes;
  uint64_t data_bytes = file.size() - data_begin;
  const uint64_t announced = AnnouncedBytes(result.tensors);
  if (data == Data::kMayBeAbsent && data_bytes == 0 && announced > 0) {
    // A sum with the header that leaves 64 bits is refused like a file that is too short.
    if (!CheckedAdd(data_begin, announced)) file.Reject("the header announces {} bytes of data", announced);
    result.data_absent = true;
    data_bytes = announced;
  }
  PlaceSafetensors(file, data_begin, data_bytes, &result.tensors);
  result.bytes = data_begin + data_bytes;
  result.stamp = file.stamp();
  return result;
}

}  // namespace onecopy
