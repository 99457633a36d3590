// Layers of linear attention by the gated delta rule (Gated DeltaNet, arXiv 2412.06464) in the spelling of both formats,
// and the gated attention beside them: what Qwen3-Next and Qwen3.5 share. Norms are stored less one in directories, and A
// as its logarithm; llama.cpp's converter writes the norms whole, and A as -exp(A_log).
#include <fmt/format.h>

#include <algorithm>

#include "runtime/model/families/families.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

constexpr uint32_t kMostConvKernel = 16;
constexpr uint32_t kDefaultInterval = 4;  // of layers with attention, in both programs

// Every interval-th layer has attention.
void SetByInterval(uint32_t interval, ModelSpec* spec) {
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer)
    if ((layer + 1) % interval != 0) spec->add_linear_layers(layer);
}

void ReadHfLayers(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  if (!in->Has("layer_types"))
    return SetByInterval(in->CountOr("full_attention_interval", kDefaultInterval, 1, kMaxLayers), spec);
  const nlohmann::json& types = checkpoint.metadata.at("layer_types");
  if (!types.is_array() || types.size() != spec->n_layers())
    return in->Problem("layer_types", fmt::format("expected a list of {} layers", spec->n_layers()));
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if (types[layer] == "linear_attention") {
      spec->add_linear_layers(layer);
    } else if (types[layer] != "full_attention") {
      return in->Problem("layer_types", fmt::format("expected linear_attention or full_attention, found {}",
                                                    ShownJson(types[layer])));
    }
  }
}

void ReadGgufLayers(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  constexpr const char* kKey = "attention.recurrent_layers";
  if (!in->Has(kKey))
    return SetByInterval(in->CountOr("full_attention_interval", kDefaultInterval, 1, kMaxLayers), spec);
  const nlohmann::json& layers =
      checkpoint.metadata.at(checkpoint.metadata.at("general.architecture").get<std::string>() + "." + kKey);
  // One for each block, those for multi-token prediction among them.
  if (!layers.is_array() || layers.size() < spec->n_layers())
    return in->Problem(kKey, fmt::format("expected a list of {} layers", spec->n_layers()));
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    const nlohmann::json& linear = layers[layer];
    if (!linear.is_boolean() && !linear.is_number_integer())
      return in->Problem(kKey, fmt::format("expected flags, found {}", ShownJson(linear)));
    if (linear.is_boolean() ? linear.get<bool>() : linear != 0) spec->add_linear_layers(layer);
  }
}

Family::TensorRow::Runs QInQkv(const ModelSpec& spec) {
  return {2 * ShapeOfRole(spec, Weight::LINEAR_Q).rows + ShapeOfRole(spec, Weight::LINEAR_V).rows, 0};
}
Family::TensorRow::Runs KInQkv(const ModelSpec& spec) {
  return {QInQkv(spec).tensor_rows, ShapeOfRole(spec, Weight::LINEAR_Q).rows};
}
Family::TensorRow::Runs VInQkv(const ModelSpec& spec) {
  return {QInQkv(spec).tensor_rows, 2 * ShapeOfRole(spec, Weight::LINEAR_Q).rows};
}

// Of each key head: q, k, v of its value heads, z of them.
Family::TensorRow::Runs InQkvz(const ModelSpec& spec, uint32_t first, bool of_values) {
  const uint32_t keys = spec.linear_key_head_dim();
  const uint32_t values = spec.linear_value_heads() / spec.linear_key_heads() * spec.linear_value_head_dim();
  const uint32_t stride = 2 * keys + 2 * values;
  return {uint64_t{spec.linear_key_heads()} * stride, first, of_values ? values : keys, stride};
}
Family::TensorRow::Runs QInQkvz(const ModelSpec& spec) {
  return InQkvz(spec, 0, false);
}
Family::TensorRow::Runs KInQkvz(const ModelSpec& spec) {
  return InQkvz(spec, spec.linear_key_head_dim(), false);
}
Family::TensorRow::Runs VInQkvz(const ModelSpec& spec) {
  return InQkvz(spec, 2 * spec.linear_key_head_dim(), true);
}
Family::TensorRow::Runs ZInQkvz(const ModelSpec& spec) {
  const Family::TensorRow::Runs v = VInQkvz(spec);
  return {v.tensor_rows, v.first_row + v.run_rows, v.run_rows, v.run_stride};
}

// llama.cpp's converter kept in_proj_qkvz whole until December 2025 and takes it apart since.
bool IsFused(const Checkpoint& checkpoint, const ModelSpec& spec) {
  if (spec.linear_layers().empty()) return false;
  const uint32_t layer = spec.linear_layers(0);
  return checkpoint.Find(fmt::format("model.layers.{}.linear_attn.in_proj_qkvz.weight", layer)) != nullptr ||
         checkpoint.Find(fmt::format("blk.{}.ssm_in.weight", layer)) != nullptr;
}
bool IsSplit(const Checkpoint& checkpoint, const ModelSpec& spec) {
  return !IsFused(checkpoint, spec);
}

}  // namespace

void ReadGatedDelta(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  gguf ? ReadGgufLayers(checkpoint, in, spec) : ReadHfLayers(checkpoint, in, spec);
  spec->set_attn_output_gate(true);
  const char* value_heads_key = gguf ? "ssm.time_step_rank" : "linear_num_value_heads";
  const char* value_dim_key = gguf ? "ssm.inner_size" : "linear_value_head_dim";
  spec->set_linear_key_heads(in->Count(gguf ? "ssm.group_count" : "linear_num_key_heads", 1, kMaxHeads));
  spec->set_linear_value_heads(in->Count(value_heads_key, 1, kMaxHeads));
  spec->set_linear_key_head_dim(in->Count(gguf ? "ssm.state_size" : "linear_key_head_dim", 1, kMaxDim));
  const uint32_t values = in->Count(value_dim_key, 1, kMaxDim);
  spec->set_linear_conv_kernel(
      in->Count(gguf ? "ssm.conv_kernel" : "linear_conv_kernel_dim", 2, kMostConvKernel));
  if (gguf && values % spec->linear_value_heads() != 0)
    in->Problem(value_dim_key, fmt::format("expected a multiple of the {} value heads, found {}",
                                           spec->linear_value_heads(), values));
  spec->set_linear_value_head_dim(gguf ? std::max(1u, values / spec->linear_value_heads()) : values);
  if (spec->linear_value_heads() % spec->linear_key_heads() != 0)
    in->Problem(value_heads_key, fmt::format("expected a multiple of the {} key heads, found {}",
                                             spec->linear_key_heads(), spec->linear_value_heads()));
  if (uint64_t{spec->linear_key_heads()} * spec->linear_key_head_dim() > kMaxDim ||
      uint64_t{spec->linear_value_heads()} * spec->linear_value_head_dim() > kMaxDim)
    in->Problem(value_heads_key, fmt::format("the heads together are longer than {}", kMaxDim));
  if (!gguf && in->FlagOr("attention_bias", false))
    in->Problem("attention_bias", "is not supported in this family");
}

std::vector<Family::TensorRow> HybridAttentionRows() {
  std::vector<Family::TensorRow> rows = Joined({AttentionRows(), QkNormRows()});
  rows.erase(std::remove_if(rows.begin(), rows.end(), [](const auto& row) { return row.optional; }),
             rows.end());  // biases
  for (Family::TensorRow& row : rows) {
    if (row.role == Weight::FFN_NORM) row.gguf = "blk.{L}.post_attention_norm.weight";
    if (IsVectorRole(row.role)) row.hf_change = Weight::PLUS_ONE;
  }
  return rows;
}

std::vector<Family::TensorRow> GatedDeltaRows() {
  constexpr auto kAsItIs = Weight::AS_IT_IS;
  constexpr const char *kGgufFused = "blk.{L}.ssm_in.weight", *kGgufQkv = "blk.{L}.attn_qkv.weight",
                       *kGgufConv = "blk.{L}.ssm_conv1d.weight";
  constexpr const char *kFused = "model.layers.{L}.linear_attn.in_proj_qkvz.weight",
                       *kQkv = "model.layers.{L}.linear_attn.in_proj_qkv.weight",
                       *kConv = "model.layers.{L}.linear_attn.conv1d.weight";
  return {
      {Weight::LINEAR_Q, kGgufFused, kFused, false, IsFused, 0, 1, false, QInQkvz},
      {Weight::LINEAR_K, kGgufFused, kFused, false, IsFused, 0, 1, false, KInQkvz},
      {Weight::LINEAR_V, kGgufFused, kFused, false, IsFused, 0, 1, false, VInQkvz},
      {Weight::LINEAR_Z, kGgufFused, kFused, false, IsFused, 0, 1, false, ZInQkvz},
      {Weight::LINEAR_Q, kGgufQkv, kQkv, false, IsSplit, 0, 1, false, QInQkv},
      {Weight::LINEAR_K, kGgufQkv, kQkv, false, IsSplit, 0, 1, false, KInQkv},
      {Weight::LINEAR_V, kGgufQkv, kQkv, false, IsSplit, 0, 1, false, VInQkv},
      {Weight::LINEAR_Z, "blk.{L}.attn_gate.weight", "model.layers.{L}.linear_attn.in_proj_z.weight", false,
       IsSplit},
      {Weight::LINEAR_CONV_Q, kGgufConv, kConv, false, nullptr, 0, 1, false, QInQkv},
      {Weight::LINEAR_CONV_K, kGgufConv, kConv, false, nullptr, 0, 1, false, KInQkv},
      {Weight::LINEAR_CONV_V, kGgufConv, kConv, false, nullptr, 0, 1, false, VInQkv},
      {Weight::LINEAR_A, "blk.{L}.ssm_a", "model.layers.{L}.linear_attn.A_log", false, nullptr, 0, 1, false,
       nullptr, Weight::MINUS_EXP},
      {Weight::LINEAR_DT_BIAS, "blk.{L}.ssm_dt.bias", "model.layers.{L}.linear_attn.dt_bias"},
      {Weight::LINEAR_NORM, "blk.{L}.ssm_norm.weight", "model.layers.{L}.linear_attn.norm.weight", false,
       nullptr, 0, 1, false, nullptr, kAsItIs},
      {Weight::LINEAR_O, "blk.{L}.ssm_out.weight", "model.layers.{L}.linear_attn.out_proj.weight"},
  };
}

}  // namespace onecopy
