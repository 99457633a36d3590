#include "runtime/model/quantized_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace onecopy {
namespace {

using Method = Quantization::Method;

std::string_view WithoutWeight(std::string_view name) {
  constexpr std::string_view kEnd = ".weight";
  if (name.size() > kEnd.size() && name.substr(name.size() - kEnd.size()) == kEnd)
    name.remove_suffix(kEnd.size());
  return name;
}

std::string CodesName(Method method, const std::string& name) {
  const std::string stem(WithoutWeight(name));
  switch (method) {
    case Method::kMxfp4:
      return stem + "_blocks";
    case Method::kPacked:
      return stem + ".weight_packed";
    case Method::kAwq:
    case Method::kGptq:
      return stem + ".qweight";
    default:
      return name;
  }
}

// Binds the tensors of one matrix.
class QuantizedBinder {
 public:
  QuantizedBinder(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name,
                  bool stacked, uint64_t tensor_rows, proto::Weight* weight, std::vector<bool>* used,
                  TensorProblems* problems)
      : checkpoint_(checkpoint),
        quantization_(quantization),
        name_(name),
        stem_(WithoutWeight(name)),
        stacked_(stacked),
        weight_(*weight),
        used_(*used),
        problems_(*problems),
        rows_(tensor_rows),
        cols_(weight->cols()) {}

  bool Bind() {
    if (cols_ % 32 != 0) {
      Problem(&problems_.wrong_shape, name_,
              fmt::format("has rows of {} columns, expected a multiple of 32", cols_));
      return false;
    }
    switch (quantization_.method) {
      case Method::kMxfp4:
        BindMxfp4();
        break;
      case Method::kF8:
        BindF8();
        break;
      case Method::kPacked:
        BindPacked();
        break;
      default:
        BindTransposed();
    }
    if (ok_) {
      weight_.set_file(weight_.parts(0).file());
      weight_.set_offset(weight_.parts(0).offset());
    }
    return ok_;
  }

 private:
  using Part = proto::Weight::Part;

  // Rows of the tensors are those of all interleaved weights.
  void BindMxfp4() {
    Set(proto::Weight::MXFP4_TENSORS, kernels::WeightType::kMXFP4, 32);
    Add(Part::CODES, stem_ + "_blocks", {"U8"}, {{rows_, cols_ / 32, 16}}, cols_ / 2, 1);
    Add(Part::SCALES, stem_ + "_scales", {"U8", "F8_E8M0"}, {{rows_, cols_ / 32}}, cols_ / 32, 1);
  }

  void BindF8() {
    Set(proto::Weight::F8_TENSORS, kernels::WeightType::kF8_E4M3, OrAll(quantization_.block_cols, cols_));
    if (quantization_.block_cols % 128 != 0 && weight_.group_cols() < cols_)
      return Problem(
          &problems_.wrong_type, name_,
          fmt::format("has a scale for {} columns, expected a multiple of 128", quantization_.block_cols));
    const uint64_t span = OrAll(quantization_.block_rows, rows_);
    const uint64_t n = DivUp(cols_, weight_.group_cols()), lines = DivUp(rows_, span);
    Add(Part::CODES, name_, {"F8_E4M3"}, {{rows_, cols_}}, cols_, 1);
    std::vector<std::vector<uint64_t>> shapes = {{lines, n}};
    // One scale a row, or one in all, may have no dimension for the columns.
    if (n == 1) shapes.push_back({lines});
    if (n == 1 && lines == 1) shapes.emplace_back();
    const std::string inverse = name_ + "_scale_inv";
    Add(Part::SCALES, checkpoint_.Find(inverse) != nullptr ? inverse : name_ + "_scale",
        {"F32", "BF16", "F16"}, shapes, n, span);
  }

  void BindPacked() {
    const uint64_t group = OrAll(quantization_.block_cols, cols_), groups = DivUp(cols_, group);
    const uint64_t in_word = 32 / quantization_.bits;
    SetInt(proto::Weight::INT_ROWS, group);
    Add(Part::CODES, stem_ + ".weight_packed", {"I32"}, {{rows_, cols_ / in_word}}, cols_ / in_word * 4, 1);
    const TensorInfo* scales =
        Add(Part::SCALES, stem_ + ".weight_scale", {"BF16", "F16"}, {{rows_, groups}}, groups, 1);
    if (!quantization_.symmetric)
      Add(Part::ZEROS, stem_ + ".weight_zero_point", {"I32"}, {{DivUp(rows_, in_word), groups}}, groups * 4,
          in_word);
    else
      weight_.set_zero_offset(Middle());
    if (quantization_.act_order)
      Add(Part::GROUPS, stem_ + ".weight_g_idx", {"I32"}, {{cols_}}, cols_ * 4, rows_);
    MarkUsed(stem_ + ".weight_shape");
    SetIntType(group, scales);
  }

  // AWQ and GPTQ: a line a column, or a group of them.
  void BindTransposed() {
    const bool gptq = quantization_.method == Method::kGptq;
    const uint64_t group = OrAll(quantization_.block_cols, cols_), groups = DivUp(cols_, group);
    const uint64_t in_word = 32 / quantization_.bits;
    SetInt(gptq ? proto::Weight::INT_GPTQ : proto::Weight::INT4_AWQ, group);
    if (rows_ % in_word != 0)
      return Problem(&problems_.wrong_shape, name_,
                     fmt::format("has {} rows, expected a multiple of {}", rows_, in_word));
    if (gptq)
      Add(Part::CODES, stem_ + ".qweight", {"I32"}, {{cols_ / in_word, rows_}}, rows_ * 4, in_word);
    else
      Add(Part::CODES, stem_ + ".qweight", {"I32"}, {{cols_, rows_ / 8}}, rows_ / 2, 1);
    // Of columns in any order the groups are wanted together: one line.
    const uint64_t lines = quantization_.act_order ? groups : 1;
    const uint64_t span = quantization_.act_order ? cols_ : group;
    const TensorInfo* scales =
        Add(Part::SCALES, stem_ + ".scales", {"F16", "BF16"}, {{groups, rows_}}, lines * rows_, span);
    if (gptq || !quantization_.symmetric)
      Add(Part::ZEROS, stem_ + ".qzeros", {"I32"}, {{groups, rows_ / in_word}}, lines * rows_ / in_word * 4,
          span);
    else
      MarkUsed(stem_ + ".qzeros");
    weight_.set_zero_offset(quantization_.zero_offset);
    if (quantization_.act_order || (gptq && checkpoint_.Find(stem_ + ".g_idx") != nullptr))
      Add(Part::GROUPS, stem_ + ".g_idx", {"I32"}, {{cols_}}, 4, 1);
    SetIntType(group, scales);
  }

  void Set(proto::Weight::Layout layout, kernels::WeightType type, uint64_t group_cols) {
    weight_.set_layout(layout);
    weight_.set_type(static_cast<uint32_t>(type));
    weight_.set_group_cols(static_cast<uint32_t>(group_cols));
  }

  void SetInt(proto::Weight::Layout layout, uint64_t group_cols) {
    Set(layout, kernels::WeightType::kCount, group_cols);
    weight_.set_code_bits(quantization_.bits);
  }
  uint32_t Middle() const { return 1u << (quantization_.bits - 1); }

  // The smallest type that holds the weights exactly: of act-order, and of 8 bits with zeros, only floats do.
  void SetIntType(uint64_t group, const TensorInfo* scales) {
    using kernels::WeightType;
    if (scales == nullptr) return;
    const bool bf16 = scales->type_name == "BF16";
    // The largest group that divides the file's: scales and zeros are then repeated.
    WeightType type = group % 128 == 0 || group == cols_ ? WeightType::kInt4_128
                      : group % 64 == 0                  ? WeightType::kInt4_64
                                                         : WeightType::kInt4_32;
    // Without zeros to hold there is a smaller form, of f16 the very blocks of Q4_0.
    if (type == WeightType::kInt4_32 && quantization_.method == Method::kPacked && quantization_.symmetric)
      type = bf16 ? WeightType::kInt4_BF16 : WeightType::kQ4_0;
    if (quantization_.bits == 8) type = bf16 ? WeightType::kInt8_BF16 : WeightType::kQ8_0;
    if (quantization_.act_order || (quantization_.bits == 8 && !quantization_.symmetric))
      type = WeightType::kF32;
    weight_.set_type(static_cast<uint32_t>(type));
  }

  // units: bytes of a line; of scales: numbers of a line.
  const TensorInfo* Add(Part::Kind kind, const std::string& name, const std::vector<std::string>& types,
                        std::vector<std::vector<uint64_t>> shapes, uint64_t units, uint64_t span) {
    const TensorInfo* tensor = checkpoint_.Find(name);
    if (tensor == nullptr) {
      problems_.missing.push_back(name);
      ok_ = false;
      return nullptr;
    }
    MarkUsed(name);
    if (stacked_)
      for (auto& shape : shapes) shape.insert(shape.begin(), weight_.n_experts());
    if (std::find(types.begin(), types.end(), tensor->type_name) == types.end()) {
      Problem(&problems_.wrong_type, name,
              fmt::format("is {}, expected {}", tensor->type_name, fmt::join(types, " or ")));
      return nullptr;
    }
    if (std::find(shapes.begin(), shapes.end(), tensor->shape) == shapes.end()) {
      Problem(&problems_.wrong_shape, name,
              fmt::format("is [{}], expected [{}]", fmt::join(tensor->shape, ", "),
                          fmt::join(shapes.front(), ", ")));
      return nullptr;
    }
    Part* part = weight_.add_parts();
    part->set_kind(kind);
    part->set_file(tensor->file);
    part->set_offset(tensor->offset);
    part->set_span(static_cast<uint32_t>(span));
    part->set_line_bytes(units);
    if (tensor->info != nullptr && kind == Part::SCALES) {
      part->set_type(static_cast<uint32_t>(tensor->info->type));
      part->set_line_bytes(units * tensor->info->block_bytes);
    }
    return tensor;
  }

  void MarkUsed(const std::string& name) {
    const auto at = checkpoint_.index.find(name);
    if (at != checkpoint_.index.end()) used_[at->second] = true;
  }

  void Problem(std::vector<std::string>* kind, const std::string& name, const std::string& what) {
    kind->push_back(fmt::format("{} {}", name, what));
    ok_ = false;
  }

  static uint64_t OrAll(uint64_t n, uint64_t all) { return n == 0 ? all : n; }
  static uint64_t DivUp(uint64_t n, uint64_t d) { return (n + d - 1) / d; }

  const Checkpoint& checkpoint_;
  const Quantization& quantization_;
  const std::string& name_;
  const std::string stem_;
  const bool stacked_;
  proto::Weight& weight_;
  std::vector<bool>& used_;
  TensorProblems& problems_;
  const uint64_t rows_, cols_;  // of the tensors
  bool ok_ = true;
};

}  // namespace

bool HasQuantized(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name) {
  if (quantization.method == Method::kNone) return false;
  const TensorInfo* codes = checkpoint.Find(CodesName(quantization.method, name));
  if (codes == nullptr) return false;
  // FP8 codes have the name of the plain matrix, which layers that are not converted have too.
  return quantization.method != Method::kF8 || codes->type_name == "F8_E4M3";
}

bool BindQuantized(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name,
                   bool stacked, uint64_t tensor_rows, proto::Weight* weight, std::vector<bool>* used,
                   TensorProblems* problems) {
  return QuantizedBinder(checkpoint, quantization, name, stacked, tensor_rows, weight, used, problems).Bind();
}

}  // namespace onecopy
