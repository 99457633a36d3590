#include "runtime/model/quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "runtime/base/printable.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using nlohmann::json;
using Method = Quantization::Method;

constexpr uint32_t kMaxBlock = 1 << 20;

// Reads one object of the configuration; problems name it by `prefix`.
class Fields {
 public:
  Fields(const json& object, std::string prefix, std::vector<std::string>* problems)
      : object_(object), prefix_(std::move(prefix)), problems_(*problems) {}

  const json* Find(const char* key) const {
    const auto found = object_.is_object() ? object_.find(key) : object_.end();
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  // Absent or null: `fallback`. Anything but one of `allowed` is a problem.
  json OneOf(const char* key, const json& fallback, const std::vector<json>& allowed) {
    const json* value = Find(key);
    if (value == nullptr) return fallback;
    if (std::find(allowed.begin(), allowed.end(), *value) != allowed.end()) return *value;
    std::vector<std::string> names;
    for (const json& one : allowed) names.push_back(one.dump());
    Problem(key, fmt::format("expected {}, found {}", fmt::join(names, " or "), ShownJson(*value)));
    return fallback;
  }
  // -1 is 0: all columns.
  uint32_t Columns(const char* key, uint32_t fallback) {
    const json* value = Find(key);
    if (value == nullptr) return fallback;
    if (*value == -1) return 0;
    return Multiple(key, *value, 32);
  }
  // [rows, columns]
  std::array<uint32_t, 2> Block(const char* key) {
    const json& block = *Find(key);
    if (!block.is_array() || block.size() != 2) {
      Problem(key, fmt::format("expected two numbers, found {}", ShownJson(block)));
      return {1, 128};
    }
    return {Multiple(key, block[0], 1), Multiple(key, block[1], 32)};
  }
  void Problem(const std::string& key, const std::string& reason) {
    problems_.push_back(fmt::format("{}{}: {}", prefix_, key, reason));
  }

 private:
  uint32_t Multiple(const char* key, const json& value, uint32_t of) {
    if (value.is_number_integer() && value >= of && value <= kMaxBlock && value.get<uint32_t>() % of == 0)
      return value.get<uint32_t>();
    Problem(key, of == 1 ? fmt::format("expected a number above 0, found {}", ShownJson(value))
                         : fmt::format("expected a multiple of {}, found {}", of, ShownJson(value)));
    return of;
  }

  const json& object_;
  std::string prefix_;
  std::vector<std::string>& problems_;
};

// DeepSeek's form, and transformers': without a block size there is one scale a tensor.
void ReadFp8(Fields* in, Quantization* q) {
  in->OneOf("fmt", "e4m3", {"e4m3"});
  if (in->Find("weight_block_size") == nullptr) return;
  const auto [rows, cols] = in->Block("weight_block_size");
  q->block_rows = rows;
  q->block_cols = cols;
}

void ReadCompressedFloat(Fields* in, Quantization* q) {
  q->method = Method::kF8;
  const std::string strategy = in->OneOf("strategy", "tensor", {"tensor", "channel", "block"});
  if (strategy == "channel") q->block_rows = 1;
  if (strategy != "block") return;
  if (in->Find("block_structure") == nullptr) return in->Problem("block_structure", "is missing");
  const auto [rows, cols] = in->Block("block_structure");
  q->block_rows = rows;
  q->block_cols = cols;
}

void ReadCompressedInt(Fields* in, Quantization* q) {
  q->method = Method::kPacked;
  const std::string strategy = in->OneOf("strategy", "group", {"group", "channel"});
  q->block_cols = strategy == "group" ? in->Columns("group_size", 0) : 0;
  if (strategy == "group" && in->Find("group_size") == nullptr) in->Problem("group_size", "is missing");
  q->symmetric = in->OneOf("symmetric", true, {true, false});
  const json order = in->OneOf("actorder", nullptr, {"weight", "static", "group", "dynamic", true, false});
  q->act_order = q->block_cols != 0 && (order == "group" || order == "dynamic" || order == true);
}

void ReadCompressedTensors(Fields* in, std::vector<std::string>* problems, Quantization* q) {
  const std::string format =
      in->OneOf("format", "", {"pack-quantized", "float-quantized", "naive-quantized"});
  if (const json* transforms = in->Find("transform_config"); transforms != nullptr && !transforms->empty())
    in->Problem("transform_config", "weights that are rotated, and inputs with them, are not supported");
  const json* groups = in->Find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty())
    return in->Problem("config_groups", "is missing");
  const json* weights = nullptr;
  for (const auto& [name, group] : groups->items()) {
    const Fields fields(group, "", problems);
    const json* found = fields.Find("weights");
    if (found == nullptr || !found->is_object())
      return in->Problem("config_groups." + Printable(name, 40), "has no weights");
    if (weights != nullptr && *found != *weights)
      return in->Problem("config_groups", "groups of different weights are not supported");
    weights = found;
  }
  Fields of_weights(*weights, "config_groups: weights: ", problems);
  const std::string type = of_weights.OneOf("type", "int", {"int", "float"});
  q->bits = type == "int" ? of_weights.OneOf("num_bits", 4, {4, 8}) : of_weights.OneOf("num_bits", 8, {8});
  if ((format == "pack-quantized") != (type == "int"))
    return in->Problem("format", fmt::format("{} of {} {} bits is not supported", format, q->bits, type));
  type == "int" ? ReadCompressedInt(&of_weights, q) : ReadCompressedFloat(&of_weights, q);
}

void ReadAwq(Fields* in, Quantization* q) {
  in->OneOf("bits", 4, {4});
  in->OneOf("version", "gemm", {"gemm", "GEMM"});
  q->block_cols = in->Columns("group_size", 128);
  q->symmetric = !in->OneOf("zero_point", true, {true, false}).get<bool>();
  q->zero_offset = q->symmetric ? 8 : 0;
}

void ReadGptq(Fields* in, Quantization* q) {
  q->bits = in->OneOf("bits", 4, {4, 8});
  q->block_cols = in->Columns("group_size", 128);
  // One group has all columns, in whatever order they were quantised; static groups are of columns that follow each other.
  const bool act_order = in->OneOf("desc_act", false, {false, true});
  const bool static_groups = in->OneOf("static_groups", false, {false, true});
  q->act_order = act_order && !static_groups && q->block_cols != 0;
  q->symmetric = q->bits == 8 && in->OneOf("sym", true, {true, false});
  const std::string format = in->OneOf("checkpoint_format", "gptq", {"gptq", "gptq_v2"});
  q->zero_offset = format == "gptq" ? 1 : 0;
}

}  // namespace

Quantization ReadQuantization(const json& config, std::vector<std::string>* problems) {
  Quantization q;
  const auto found = config.find("quantization_config");
  if (found == config.end() || found->is_null()) return q;
  Fields in(*found, "", problems);
  const json* method = in.Find("quant_method");
  q.name = method == nullptr ? "none" : method->is_string() ? method->get<std::string>() : ShownJson(*method);
  if (q.name == "mxfp4") {
    q.method = Method::kMxfp4;
  } else if (q.name == "fp8") {
    q.method = Method::kF8;
    ReadFp8(&in, &q);
  } else if (q.name == "compressed-tensors") {
    ReadCompressedTensors(&in, problems, &q);
  } else if (q.name == "awq") {
    q.method = Method::kAwq;
    ReadAwq(&in, &q);
  } else if (q.name == "gptq") {
    q.method = Method::kGptq;
    ReadGptq(&in, &q);
  } else {
    problems->push_back(fmt::format(
        "quant_method: {} is not supported: expected awq, compressed-tensors, fp8, gptq or mxfp4, a model in "
        "F32, F16 or BF16, or a GGUF file",
        Printable(q.name, 80)));
  }
  return q;
}

}  // namespace onecopy
