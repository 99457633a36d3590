#include "runtime/model/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "runtime/base/printable.h"
#include "runtime/model/summary.h"

namespace onecopy {
namespace {

using nlohmann::json;

constexpr size_t kShownElements = 8;
constexpr size_t kShownBytes = 96;  // of a value in the table

const char* FormatName(CheckpointFormat format) {
  return format == CheckpointFormat::kGguf ? "GGUF" : "Hugging Face";
}

std::string Text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  // A GGUF float32 is a double here; its shortest spelling as a float is what its author wrote.
  if (value.is_number_float()) return fmt::format("{}", static_cast<float>(value.get<double>()));
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string Shortened(const json& value) {
  if (!value.is_array() || value.size() <= kShownElements) return Printable(Text(value), kShownBytes);
  std::vector<std::string> first;
  for (size_t i = 0; i < kShownElements; ++i) first.push_back(Printable(Text(value[i]), 24));
  return fmt::format("[{}, …] ({} elements)", fmt::join(first, ", "), value.size());
}

json ShortenedJson(const json& value) {
  if (value.is_object()) {
    json shortened = json::object();
    for (const auto& [key, member] : value.items()) shortened[key] = ShortenedJson(member);
    return shortened;
  }
  if (!value.is_array() || value.size() <= kShownElements) return value;
  return {{"length", value.size()},
          {"first", json(json::array_t(value.begin(), value.begin() + kShownElements))}};
}

// Rows of cells as left-aligned columns, two spaces apart.
void AppendTable(const std::vector<std::vector<std::string>>& rows, std::string* out) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      fmt::format_to(std::back_inserter(*out), "{}{:{}}", row[i], "", widths[i] - row[i].size() + 2);
    }
    *out += row.empty() ? "\n" : row.back() + "\n";
  }
}

}  // namespace

std::string DescribeAsText(const Checkpoint& checkpoint) {
  std::string out = fmt::format("{}: {}, {} file{}, {} tensors\n", Printable(checkpoint.path, 4096),
                                FormatName(checkpoint.format), checkpoint.files.size(),
                                checkpoint.files.size() == 1 ? "" : "s", checkpoint.tensors.size());
  out += SummaryAsText(Summarize(checkpoint)) + "\nmetadata\n";
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : checkpoint.metadata.items()) {
    rows.push_back({"  " + Printable(key, kShownBytes), Shortened(value)});
  }
  AppendTable(rows, &out);

  out += "\ntensors\n";
  rows = {{"  name", "type", "shape", "bytes", "file", "offset"}};
  uint64_t bytes = 0;
  std::map<std::string, uint64_t> bytes_by_type;
  for (const TensorInfo& tensor : checkpoint.tensors) {
    bytes_by_type[tensor.type_name] += tensor.bytes;
    rows.push_back({"  " + Printable(tensor.name, kShownBytes), tensor.type_name,
                    fmt::format("[{}]", fmt::join(tensor.shape, ", ")), std::to_string(tensor.bytes),
                    std::to_string(tensor.file), std::to_string(tensor.offset)});
    bytes += tensor.bytes;
  }
  AppendTable(rows, &out);
  std::vector<std::string> types;
  for (const auto& [type, n] : bytes_by_type) types.push_back(fmt::format("{} {}", n, type));
  out += fmt::format("\n{} bytes of weights: {}{}\n", bytes, fmt::join(types, ", "),
                     checkpoint.data_absent ? ", which are not all there: a file ends with its headers" : "");
  return out;
}

json DescribeAsJson(const Checkpoint& checkpoint) {
  json files = json::array();
  for (size_t i = 0; i < checkpoint.files.size(); ++i) {
    files.push_back({{"path", checkpoint.files[i]}, {"bytes", checkpoint.file_bytes[i]}});
  }
  json tensors = json::array();
  for (const TensorInfo& tensor : checkpoint.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"type", tensor.type_name},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes},
                       {"file", tensor.file},
                       {"offset", tensor.offset}});
  }
  return {{"path", checkpoint.path},          {"format", FormatName(checkpoint.format)},
          {"files", std::move(files)},        {"data_absent", checkpoint.data_absent},
          {"summary", Summarize(checkpoint)}, {"metadata", ShortenedJson(checkpoint.metadata)},
          {"tensors", std::move(tensors)}};
}

}  // namespace onecopy
