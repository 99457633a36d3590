#include "runtime/cli/quantize_plan.h"

#include <algorithm>
#include <map>

#include "runtime/base/error.h"
#include "runtime/base/new_file.h"
#include "runtime/base/printable.h"
#include "runtime/cli/tokenizer_source.h"
#include "runtime/model/gguf_keys.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/source.h"

namespace onecopy::cli {
namespace {

using kernels::WeightType;
using proto::Weight;

void SetFiles(const Checkpoint& checkpoint, proto::ModelSpec* spec) {
  for (const std::string& file : checkpoint.files) spec->add_files(file);
  for (const uint64_t bytes : checkpoint.file_bytes) spec->add_file_bytes(bytes);
}

void SetShapeAndTypes(uint64_t rows, uint64_t cols, WeightType from, WeightType to, Weight* weight) {
  weight->set_rows(rows);
  weight->set_cols(cols);
  weight->set_file_type(static_cast<uint32_t>(from));
  weight->set_type(static_cast<uint32_t>(to));
}

QuantizePlan PlanOfGguf(const Checkpoint& checkpoint, const QuantizeRecipe& recipe) {
  const std::vector<const kernels::TypeInfo*> types = QuantizedTypes(checkpoint, recipe);
  QuantizePlan plan;
  SetFiles(checkpoint, &plan.files);
  std::vector<GgufOutputTensor> tensors;
  for (size_t i = 0; i < types.size(); ++i) {
    const TensorInfo& from = checkpoint.tensors[i];
    tensors.push_back({from.name, from.shape, types[i]});
    Weight weight;
    weight.set_name(from.name);
    weight.set_file(from.file);
    weight.set_offset(from.offset);
    if (types[i]->type == WeightType::kCount) {
      // Integers and the like are carried over, as so many pairs of bytes.
      SetShapeAndTypes(1, from.bytes / 2, WeightType::kF16, WeightType::kF16, &weight);
      if (from.bytes % 2 != 0)
        Fail(ErrorCode::kBadInput, "{}: tensor \"{}\": {} of an odd number of bytes cannot be carried over",
             checkpoint.path, Printable(from.name), from.type_name);
    } else {
      uint64_t rows = 1;
      for (size_t d = 0; d + 1 < from.shape.size(); ++d) rows *= from.shape[d];
      SetShapeAndTypes(rows, from.shape.back(), from.info->type, types[i]->type, &weight);
    }
    plan.tensors.push_back({{weight}});
  }
  plan.layout = LayOutGguf(CarryOverPairs(checkpoint, recipe.file_type), std::move(tensors));
  return plan;
}

// Rows that rope turns, of which some architectures have another order in GGUF files.
bool IsTurned(Weight::Role role) {
  return role == Weight::ATTN_Q || role == Weight::ATTN_K || role == Weight::ATTN_Q_BIAS ||
         role == Weight::ATTN_K_BIAS;
}

std::vector<uint64_t> ShapeOf(const std::vector<Weight>& weights) {
  const Weight& first = weights.front();
  uint64_t experts = 0;
  for (const Weight& weight : weights) experts += weight.n_experts();
  std::vector<uint64_t> shape = {first.cols()};
  if (!IsVectorRole(first.role())) shape.insert(shape.begin(), first.rows());
  if (experts > 0) shape.insert(shape.begin(), experts);
  return shape;
}

// Vectors become F32, as in llama.cpp's files, and so does what a GGUF file has no type for.
void SetFileType(Weight* weight) {
  const auto type = static_cast<WeightType>(weight->type());
  if (!IsVectorRole(weight->role()) && kernels::Info(type).ggml_type != kernels::kNotGgml) return;
  if (!weight->has_file_type()) weight->set_file_type(weight->type());
  weight->set_type(static_cast<uint32_t>(WeightType::kF32));
}

// By the tensor of the new file, the layers in order, what is outside them first.
std::vector<std::pair<std::string, std::vector<Weight>>> ByTensor(const proto::ModelSpec& spec) {
  std::map<std::pair<uint32_t, std::string>, std::vector<Weight>> by_name;
  for (const Weight& weight : spec.weights()) {
    const std::string name = GgufNameOf(spec.family(), weight.role(), weight.layer());
    if (name.empty() || weight.change() != Weight::AS_IT_IS ||
        (shard::IsAssembled(weight) && shard::LinesAreColumns(weight)))
      Fail(ErrorCode::kBadInput, "{}: tensor \"{}\" has a form that cannot be written as GGUF yet",
           spec.name(), Printable(weight.name()));
    auto& weights = by_name[{name.starts_with("blk.") ? weight.layer() + 1 : 0, name}];
    weights.push_back(weight);
    SetFileType(&weights.back());
  }
  std::vector<std::pair<std::string, std::vector<Weight>>> tensors;
  for (auto& [key, weights] : by_name) {
    std::sort(weights.begin(), weights.end(),
              [](const Weight& a, const Weight& b) { return a.first_expert() < b.first_expert(); });
    tensors.emplace_back(key.second, std::move(weights));
  }
  return tensors;
}

// Reads the header back as a model and compares: a key that GGUF lacks, or that this program writes and reads differently,
// must not become a model that computes something else.
void CheckHeader(const proto::ModelSpec& spec, const GgufLayout& layout, const std::string& out) {
  NewFile file(out + ".header", layout.header.size());
  file.Write(layout.header.data(), layout.header.size());
  const std::string differences =
      SpecDifferences(spec, BuildModelSpec(OpenCheckpoint(file.part(), Data::kMayBeAbsent)));
  if (!differences.empty())
    Fail(ErrorCode::kBadInput, "{}: a GGUF file of family {} cannot say what this directory says: {}",
         spec.name(), spec.family(), differences);
}

QuantizePlan PlanOfDirectory(const Checkpoint& checkpoint, const QuantizeRecipe& recipe,
                             const std::string& out) {
  proto::ModelSpec spec = BuildModelSpec(checkpoint);
  const GgufForm& form = GgufFormOf(spec);
  if (form.interleaves_rope && spec.rope_dims() != spec.head_dim())
    Fail(ErrorCode::kBadInput, "{}: heads of which a part is rotated cannot be written as GGUF yet",
         checkpoint.path);
  QuantizeWhileLoading(checkpoint, recipe, &spec);
  nlohmann::json keys = GgufKeysOf(spec);
  keys.update(GgufTokenizerKeys(checkpoint, spec.vocab_size()));
  QuantizePlan plan;
  SetFiles(checkpoint, &plan.files);
  std::vector<GgufOutputTensor> tensors;
  for (auto& [name, weights] : ByTensor(spec)) {
    const auto type = static_cast<WeightType>(weights.front().type());
    tensors.push_back({name, ShapeOf(weights), &kernels::Info(type)});
    const bool interleaved = form.interleaves_rope && IsTurned(weights.front().role());
    plan.tensors.push_back({std::move(weights), interleaved ? spec.head_dim() : 0});
  }
  plan.layout = LayOutGguf(PairsOfJson(keys, recipe.file_type), std::move(tensors));
  CheckHeader(spec, plan.layout, out);
  return plan;
}

}  // namespace

QuantizePlan PlanQuantize(const Checkpoint& checkpoint, const QuantizeRecipe& recipe,
                          const std::string& out) {
  return checkpoint.format == CheckpointFormat::kGguf ? PlanOfGguf(checkpoint, recipe)
                                                      : PlanOfDirectory(checkpoint, recipe, out);
}

}  // namespace onecopy::cli
