#include "runtime/cli/quantize_recipe.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/model/model_spec.h"

namespace onecopy::cli {
namespace {

using kernels::WeightType;

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// "blk.7.attn_v.weight" is of layer 7; -1 for tensors of no layer.
int LayerOf(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  int layer = -1;
  if (name.substr(0, kPrefix.size()) == kPrefix)
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

int LayersOf(const Checkpoint& checkpoint) {
  int layers = 0;
  for (const TensorInfo& tensor : checkpoint.tensors) layers = std::max(layers, LayerOf(tensor.name) + 1);
  return layers;
}

// A matrix of a model, by the name that llama.cpp's files have for it.
struct Matrix {
  std::string name;
  uint64_t cols;
  const kernels::TypeInfo* info;  // as it is
  bool of_directory;              // in place of a GGUF file
};

// Matrices are quantised but for the routers, whose few bytes decide which experts are taken, and filters of a few columns.
bool IsQuantised(std::string_view name) {
  return EndsWith(name, ".weight") && name.find("_norm.") == std::string_view::npos &&
         name.find("ffn_gate_inp") == std::string_view::npos &&
         name.find("ssm_conv1d") == std::string_view::npos;
}

WeightType Wanted(std::string_view name, const QuantizeRecipe& recipe, int layers, bool tied) {
  if (name == "output.weight" || (tied && name == "token_embd.weight")) return recipe.output_type;
  const int layer = LayerOf(name);
  if (recipe.more_type != WeightType::kCount && layer >= 0) {
    const bool half = layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
    const bool kind = EndsWith(name, ".attn_v.weight") || name.find(".ffn_down") != std::string_view::npos;
    if (half && kind) return recipe.more_type;
  }
  const bool expert = EndsWith(name, "_exps.weight");
  return expert || recipe.dense_type == WeightType::kCount ? recipe.type : recipe.dense_type;
}

// For rows that are no whole super-blocks.
WeightType Fallback(WeightType type) {
  switch (type) {
    case WeightType::kQ4_K:
      return WeightType::kQ5_0;
    case WeightType::kQ5_K:
      return WeightType::kQ5_1;
    case WeightType::kQ6_K:
      return WeightType::kQ8_0;
    default:
      return type;
  }
}

double BitsPerWeight(const kernels::TypeInfo& info) {
  return 8.0 * info.block_bytes / info.block_cols;
}

const kernels::TypeInfo& TypeAfter(const Matrix& matrix, const QuantizeRecipe& recipe, int layers, bool tied,
                                   const std::string& path) {
  // llama.cpp's files have as floats what is not quantised.
  if (!IsQuantised(matrix.name)) return matrix.of_directory ? kernels::Info(WeightType::kF32) : *matrix.info;
  WeightType type = Wanted(matrix.name, recipe, layers, tied);
  if (matrix.cols % kernels::Info(type).block_cols != 0) type = Fallback(type);
  const kernels::TypeInfo& to = kernels::Info(type);
  if (matrix.cols % to.block_cols != 0 || &to == matrix.info) return *matrix.info;
  // gpt-oss is published with experts in MXFP4: what is not smaller than they are does not replace them.
  const double bits = BitsPerWeight(*matrix.info);
  const bool published = matrix.of_directory && matrix.info->ggml_type != kernels::kNotGgml && bits < 8;
  if (published && bits <= BitsPerWeight(to)) return *matrix.info;
  if (matrix.info->decode == nullptr || bits < 8) {
    Fail(ErrorCode::kBadInput,
         "{}: tensor \"{}\": expected F32, F16, BF16, FP8 or Q8_0 to make {} of it, found {}: quantising "
         "twice "
         "loses twice; start from a file of the original weights",
         path, Printable(matrix.name), to.name, matrix.info->name);
  }
  return to;
}

}  // namespace

const std::vector<QuantizeRecipe>& QuantizeRecipes() {
  using W = WeightType;
  static const std::vector<QuantizeRecipe> recipes = {
      {"f16", 1, W::kF16, W::kF16},
      {"bf16", 32, W::kBF16, W::kBF16},
      {"q8_0", 7, W::kQ8_0, W::kQ8_0},
      {"q6_k", 18, W::kQ6_K, W::kQ6_K},
      {"q5_k", 16, W::kQ5_K, W::kQ6_K},
      {"q5_k_m", 17, W::kQ5_K, W::kQ6_K, W::kQ6_K},
      {"q5_1", 9, W::kQ5_1, W::kQ6_K},
      {"q5_0", 8, W::kQ5_0, W::kQ6_K},
      {"q4_k", 14, W::kQ4_K, W::kQ6_K},
      {"q4_k_m", 15, W::kQ4_K, W::kQ6_K, W::kQ6_K},
      {"q4_1", 3, W::kQ4_1, W::kQ6_K},
      {"q4_0", 2, W::kQ4_0, W::kQ6_K},
      {"iq4_nl", 25, W::kIQ4_NL, W::kQ6_K},
      {"mxfp4", 38, W::kMXFP4, W::kQ8_0, W::kCount, W::kQ8_0},  // the experts; the rest Q8_0
  };
  return recipes;
}

std::string QuantizeRecipeNames() {
  std::string names;
  for (const QuantizeRecipe& recipe : QuantizeRecipes())
    names += (names.empty() ? "" : ", ") + std::string(recipe.name);
  return names;
}

const QuantizeRecipe& FindQuantizeRecipe(const std::string& name, const char* option) {
  for (const QuantizeRecipe& recipe : QuantizeRecipes())
    if (name == recipe.name) return recipe;
  Fail(ErrorCode::kUsage, "{}: expected one of {}, found \"{}\"", option, QuantizeRecipeNames(),
       Printable(name));
}

std::vector<const kernels::TypeInfo*> QuantizedTypes(const Checkpoint& checkpoint,
                                                     const QuantizeRecipe& recipe) {
  const int layers = LayersOf(checkpoint);
  const bool tied = checkpoint.Find("output.weight") == nullptr;
  std::vector<const kernels::TypeInfo*> types;
  for (const TensorInfo& tensor : checkpoint.tensors) {
    types.push_back(tensor.info);
    if (tensor.shape.size() >= 2)
      types.back() = &TypeAfter({tensor.name, tensor.shape.back(), tensor.info, false}, recipe, layers, tied,
                                checkpoint.path);
  }
  return types;
}

void QuantizeWhileLoading(const Checkpoint& checkpoint, const QuantizeRecipe& recipe,
                          proto::ModelSpec* spec) {
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  // A GGUF file may have blocks behind the model's layers, which count for `quantize`.
  const int layers = gguf ? LayersOf(checkpoint) : static_cast<int>(spec->n_layers());
  for (proto::Weight& weight : *spec->mutable_weights()) {
    if (IsVectorRole(weight.role())) continue;
    const std::string name = gguf ? weight.name() : GgufNameOf(spec->family(), weight.role(), weight.layer());
    const auto from = static_cast<WeightType>(weight.type());
    const kernels::TypeInfo& to = TypeAfter({name, weight.cols(), &kernels::Info(from), !gguf}, recipe,
                                            layers, spec->tied_embeddings(), checkpoint.path);
    if (to.type == from) continue;
    weight.set_file_type(weight.type());
    weight.set_type(static_cast<uint32_t>(to.type));
  }
}

}  // namespace onecopy::cli
