#include "runtime/model/tensor_binder.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/log.h"
#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"
#include "runtime/model/quantized_tensors.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

constexpr size_t kShownProblems = 4;  // of each kind; the rest is counted
// A file of a few bytes may name 10,000 layers of 65,536 experts. Tensors that it has not are counted up to here, and weights
// that share a tensor are no more than these; the largest known models have a hundred thousand.
constexpr size_t kMostMissing = 100'000, kMostWeights = 1 << 20;

// Of a tensor that holds a weight alone.
std::string SupportedTypes(bool float_only) {
  std::vector<const char*> names;
  for (int type = 0; type < static_cast<int>(kernels::WeightType::kCount); ++type) {
    const kernels::TypeInfo& info = kernels::Info(static_cast<kernels::WeightType>(type));
    if (info.block_cols == 1 || (!float_only && info.ggml_type != kernels::kNotGgml))
      names.push_back(info.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// Finds the tensor of every weight and collects what does not fit.
class Binder {
 public:
  Binder(const Checkpoint& checkpoint, const Family& family, ModelSpec* spec)
      : checkpoint_(checkpoint),
        left_out_(family.hf_left_out),
        spec_(spec),
        used_(checkpoint.tensors.size()) {
    if (checkpoint.format == CheckpointFormat::kGguf) fused_ = GgufFusedExpertRows();
    std::vector<std::string> reported_by_the_family;
    if (checkpoint.format == CheckpointFormat::kHuggingFace)
      quantization_ = ReadQuantization(checkpoint.metadata, &reported_by_the_family);
  }

  void Bind(const Family::TensorRow& row) {
    const std::string pattern = checkpoint_.format == CheckpointFormat::kGguf ? row.gguf : row.hf;
    if (pattern.empty() || (row.role == Weight::LM_HEAD && spec_->tied_embeddings())) return;
    if (row.applies != nullptr && !row.applies(checkpoint_, *spec_)) return;
    const bool per_layer = pattern.find("{L}") != std::string::npos;
    const bool per_expert = pattern.find("{E}") != std::string::npos;
    std::vector<uint32_t> layers;
    for (uint32_t layer = 0; layer < (per_layer ? spec_->n_layers() : 1); ++layer) {
      if (!per_layer || LayerHasRole(*spec_, row.role, layer)) layers.push_back(layer);
    }
    // An optional weight is there in all layers that have the role or in none, as the first of them has it.
    if (layers.empty() || (row.optional && checkpoint_.Find(NameInLayer(pattern, layers[0], 0)) == nullptr))
      return;
    for (const uint32_t layer : layers) {
      const Family::TensorRow* fused = FusedRow(row.role, layer);
      if (fused != nullptr) {
        BindOne(PlaceOf(*fused, layer, 0, false), NameInLayer(fused->gguf, layer, 0));
        continue;
      }
      for (uint32_t expert = 0; expert < (per_expert ? spec_->n_experts() : 1); ++expert) {
        if (problems_.missing.size() >= kMostMissing) return;
        BindOne(PlaceOf(row, layer, expert, per_expert), NameInLayer(pattern, layer, expert));
      }
    }
  }

  // Throws with all problems, or logs the tensors that nothing uses.
  void Finish() {
    RefuseUnusedOperands();
    std::vector<std::string> reasons;
    for (const auto& [what, list] :
         {std::pair<const char*, const std::vector<std::string>&>{"missing", problems_.missing},
          {"of wrong shape", problems_.wrong_shape},
          {"of unusable type", problems_.wrong_type},
          {"not supported in this family", unsupported_}}) {
      if (list.empty()) continue;
      const size_t shown = std::min(list.size(), kShownProblems);
      reasons.push_back(
          fmt::format("{} {} {}: {}{}", list.size(), list.size() == 1 ? "tensor is" : "tensors are", what,
                      fmt::join(list.begin(), list.begin() + static_cast<ptrdiff_t>(shown), ", "),
                      list.size() > shown ? fmt::format(" and {} more", list.size() - shown) : ""));
      if (list.size() >= kMostMissing) reasons.back() += " or still more";
    }
    if (!reasons.empty()) Fail(ErrorCode::kBadInput, "{}: {}", checkpoint_.path, fmt::join(reasons, "; "));
  }

 private:
  // Where a tensor belongs in the model.
  struct Place {
    Weight::Role role;
    uint32_t layer, first_expert, n_experts;
    bool stacked;     // [n_experts, rows, cols] in one tensor
    RoleShape shape;  // of one expert
    uint32_t part, n_parts;
    bool turns, transposed = false;
    Family::TensorRow::Runs runs = {};  // tensor_rows 0: all rows of the tensor
    Weight::Change change = Weight::AS_IT_IS;
  };

  Place PlaceOf(const Family::TensorRow& row, uint32_t layer, uint32_t expert, bool per_expert) const {
    Place place = {row.role, layer,       expert,   0, false, ShapeOfRole(*spec_, row.role, layer),
                   row.part, row.n_parts, row.turns};
    if (row.runs != nullptr) place.runs = row.runs(*spec_);
    if (checkpoint_.format == CheckpointFormat::kHuggingFace) {
      place.change = row.hf_change;
      place.transposed = row.transposed;
    } else if (row.hf[0] != '\0') {
      place.n_parts = 1;
    }
    if (IsExpertRole(row.role)) {
      place.stacked = !per_expert;
      place.n_experts = per_expert ? 1 : spec_->n_experts();
    }
    return place;
  }

  // Null: the layer has the role's tensor by itself.
  const Family::TensorRow* FusedRow(Weight::Role role, uint32_t layer) const {
    for (const Family::TensorRow& row : fused_)
      if (row.role == role && checkpoint_.Find(NameInLayer(row.gguf, layer, 0)) != nullptr) return &row;
    return nullptr;
  }

  void BindOne(const Place& place, const std::string& name) {
    if (!IsVectorRole(place.role) && !place.transposed && HasQuantized(checkpoint_, quantization_, name)) {
      const bool some_rows = place.runs.tensor_rows > 0 && quantization_.method != Quantization::Method::kF8;
      if ((place.n_parts > 1 && !place.turns) || some_rows) {
        problems_.wrong_type.push_back(
            fmt::format("{} is quantised and holds several matrices, expected plain floats", name));
        return;
      }
      Weight* weight = AddWeight(place, name);
      weight->set_first_row(place.runs.first_row);
      BindQuantized(checkpoint_, quantization_, name, place.stacked, RowsOfTensor(place), weight, &used_,
                    &problems_);
      return;
    }
    const auto at = checkpoint_.index.find(name);
    if (at == checkpoint_.index.end()) {
      problems_.missing.push_back(name);
      return;
    }
    used_[at->second] = true;
    const TensorInfo& tensor = checkpoint_.tensors[at->second];
    if (!HasShape(tensor, place) || !HasUsableType(tensor, place)) return;
    if (place.transposed) return SetTransposed(AddWeight(place, name), tensor, place);
    if (place.n_parts == 1 || place.turns)
      return SetSource(AddWeight(place, name), tensor, place.runs.first_row);
    // The parts of an expert follow each other, so that the experts of one part do not.
    const uint64_t rows = place.shape.rows;
    for (uint32_t e = 0; e < std::max(1u, place.n_experts); ++e) {
      Place one = place;
      one.first_expert += e;
      one.n_experts = std::min(1u, place.n_experts);
      SetSource(AddWeight(one, name), tensor, (uint64_t{e} * place.n_parts + place.part) * rows);
    }
  }

  void SetSource(Weight* weight, const TensorInfo& tensor, uint64_t first_row) {
    weight->set_type(static_cast<uint32_t>(tensor.info->type));
    weight->set_file(tensor.file);
    weight->set_offset(tensor.offset + first_row * kernels::RowBytes(*tensor.info, weight->cols()));
  }

  static void SetTransposed(Weight* weight, const TensorInfo& tensor, const Place& place) {
    weight->set_layout(Weight::FLOATS_TRANSPOSED);
    weight->set_type(static_cast<uint32_t>(tensor.info->type));
    weight->set_file(tensor.file);
    weight->set_offset(tensor.offset);
    weight->set_interleave(place.n_parts);
    weight->set_phase(place.part);
    Weight::Part* part = weight->add_parts();
    part->set_kind(Weight::Part::CODES);
    part->set_file(tensor.file);
    part->set_offset(tensor.offset);
    part->set_line_bytes(kernels::RowBytes(*tensor.info, place.shape.rows * place.n_parts));
    part->set_span(1);
    part->set_type(weight->type());
  }

  Weight* AddWeight(const Place& place, const std::string& name) {
    if (static_cast<size_t>(spec_->weights_size()) >= kMostWeights)
      Fail(ErrorCode::kBadInput,
           "{}: tensor \"{}\": the model has more than {} weights, more than any known one has",
           checkpoint_.path, Printable(name), kMostWeights);
    Weight* weight = spec_->add_weights();
    weight->set_role(place.role);
    weight->set_layer(place.layer);
    weight->set_first_expert(place.first_expert);
    weight->set_n_experts(place.n_experts);
    weight->set_rows(place.shape.rows);
    weight->set_cols(place.shape.cols);
    weight->set_name(name);
    if (place.n_parts > 1 && place.turns) {
      weight->set_interleave(place.n_parts);
      weight->set_phase(place.part);
    }
    weight->set_run_rows(place.runs.run_rows);
    weight->set_run_stride(place.runs.run_stride);
    weight->set_change(place.change);
    return weight;
  }

  static uint64_t RowsOfTensor(const Place& place) {
    return place.runs.tensor_rows > 0 ? place.runs.tensor_rows : place.shape.rows * place.n_parts;
  }

  bool HasShape(const TensorInfo& tensor, const Place& place) {
    const uint64_t rows = RowsOfTensor(place);
    std::vector<uint64_t> expected = {rows, place.shape.cols};
    // Filters of a convolution over one channel each.
    if (tensor.shape == std::vector<uint64_t>{rows, 1, place.shape.cols} && !place.stacked) return true;
    if (IsVectorRole(place.role)) {
      // Some vectors are written as matrices of one row.
      if (!place.stacked && tensor.shape == std::vector<uint64_t>{1, place.shape.cols}) return true;
      expected = {place.shape.cols * place.n_parts};
    }
    if (place.transposed) std::swap(expected[0], expected[1]);
    if (const uint64_t heads = HeadsOfShape(*spec_, place.role))
      expected = {heads, place.shape.rows / heads, place.shape.cols};
    if (place.stacked) expected.insert(expected.begin(), place.n_experts);
    if (tensor.shape == expected) return true;
    problems_.wrong_shape.push_back(fmt::format("{} is [{}], expected [{}]", tensor.name,
                                                fmt::join(tensor.shape, ", "), fmt::join(expected, ", ")));
    return false;
  }

  bool HasUsableType(const TensorInfo& tensor, const Place& place) {
    const bool vector = IsVectorRole(place.role);
    const kernels::TypeInfo* info = tensor.info;
    if (info != nullptr && info->type != kernels::WeightType::kCount && (!vector || info->block_cols == 1))
      return true;
    problems_.wrong_type.push_back(
        fmt::format("{} is {}, expected one of {}", tensor.name, tensor.type_name,
                    SupportedTypes(vector || checkpoint_.format == CheckpointFormat::kHuggingFace)));
    return false;
  }

  // A tensor that nothing uses is harmless, unless other programs add or multiply by it: then the answers
  // would be wrong without a word.
  void RefuseUnusedOperands() {
    size_t unused = 0;
    for (size_t i = 0; i < used_.size(); ++i) {
      const std::string& name = checkpoint_.tensors[i].name;
      if (used_[i] || IsOfNextnLayer(name) || IsLeftOut(name)) continue;
      const auto ends_with = [&](std::string_view end) {
        return name.size() >= end.size() && std::string_view(name).substr(name.size() - end.size()) == end;
      };
      if (ends_with(".bias") || ends_with(".scale") || ends_with("norm.weight") ||
          ends_with("correction_bias") || name.substr(0, 5) == "rope_") {
        unsupported_.push_back(Printable(name));
      } else if (unused++ < kShownProblems) {
        log::debug("{}: tensor \"{}\" is not used", checkpoint_.path, Printable(name));
      }
    }
    if (unused > kShownProblems) log::debug("{}: {} tensors are not used", checkpoint_.path, unused);
  }

  bool IsLeftOut(std::string_view name) const {
    return checkpoint_.format == CheckpointFormat::kHuggingFace &&
           std::any_of(left_out_.begin(), left_out_.end(), [&](std::string_view beginning) {
             return name.substr(0, beginning.size()) == beginning;
           });
  }

  // Layers for multi-token prediction stand behind the others, "blk.61.…" or "model.layers.61.…" of a model of 61, or apart.
  bool IsOfNextnLayer(std::string_view name) const {
    if (name.substr(0, 10) == "model.mtp.") return spec_->n_nextn_layers() > 0;
    const std::string_view prefix = checkpoint_.format == CheckpointFormat::kGguf ? "blk." : "model.layers.";
    if (spec_->n_nextn_layers() == 0 || name.substr(0, prefix.size()) != prefix) return false;
    name.remove_prefix(prefix.size());
    uint32_t layer = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
    return error == std::errc() && end != name.data() + name.size() && *end == '.' &&
           layer >= spec_->n_layers() && layer - spec_->n_layers() < spec_->n_nextn_layers();
  }

  const Checkpoint& checkpoint_;
  const std::vector<const char*>& left_out_;
  std::vector<Family::TensorRow> fused_;  // what a layer of a GGUF file may have instead of a family's rows
  ModelSpec* spec_;
  Quantization quantization_;
  std::vector<bool> used_;  // by tensor
  TensorProblems problems_;
  std::vector<std::string> unsupported_;
};

}  // namespace

std::string NameInLayer(std::string pattern, uint32_t layer, uint32_t expert) {
  for (const auto& [mark, number] : {std::pair<std::string_view, uint32_t>{"{L}", layer}, {"{E}", expert}}) {
    const size_t at = pattern.find(mark);
    if (at != std::string::npos) pattern.replace(at, mark.size(), std::to_string(number));
  }
  return pattern;
}

void BindTensors(const Checkpoint& checkpoint, const Family& family, ModelSpec* spec) {
  Binder binder(checkpoint, family, spec);
  for (const Family::TensorRow& row : family.tensors) binder.Bind(row);
  binder.Finish();
}

}  // namespace onecopy
