// Llama 4 (text): layers of which most attend within chunks of the sequence and the others have no rotary positions but a
// temperature, q and k normalised without weights, experts whose inputs are weighted by the router's sigmoid, a shared
// expert, dense layers between. Source: transformers' Llama4ForCausalLM, whose directories have the experts' matrices
// transposed, gate and up side by side in one tensor (those of compressed-tensors have each expert's as usual); llama.cpp's
// architecture llama4, which takes the numbers below for granted.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "runtime/model/families/families.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

constexpr uint32_t kChunk = 8192, kTemperatureInterval = 8192, kNopePeriod = 4;
constexpr float kTemperatureScale = 0.1f;
constexpr uint32_t kExpertsWithoutQkNorm = 128;  // Maverick: GGUF files do not say it otherwise

bool HasOneTensorPerExpert(const Checkpoint& checkpoint) {
  return std::any_of(checkpoint.tensors.begin(), checkpoint.tensors.end(), [](const TensorInfo& tensor) {
    return tensor.name.find(".feed_forward.experts.0.") != std::string::npos;
  });
}
bool HasPlainExperts(const Checkpoint& checkpoint, const ModelSpec&) {
  return checkpoint.format == CheckpointFormat::kHuggingFace && HasOneTensorPerExpert(checkpoint);
}
bool HasFusedExperts(const Checkpoint& checkpoint, const ModelSpec& spec) {
  return !HasPlainExperts(checkpoint, spec);
}

// Of every layer that is not the last of a step of `period` layers.
template <typename Add>
void OutsidePeriod(uint32_t n_layers, uint32_t period, Add add) {
  for (uint32_t layer = 0; layer < n_layers; ++layer)
    if (period == 0 || (layer + 1) % period != 0) add(layer);
}

void ReadGgufAttention(Parameters* in, ModelSpec* spec) {
  // A window of no positions says that every layer has full attention and rotation; any other is not looked at.
  spec->clear_sliding_window();
  spec->clear_sliding_layers();
  spec->set_qk_l2_norm(spec->n_experts() != kExpertsWithoutQkNorm);
  if (in->Has("attention.sliding_window") && in->CountOr("attention.sliding_window", 0, 0, kMaxContext) == 0)
    return;
  spec->set_attention_chunk(kChunk);
  spec->set_temperature_interval(kTemperatureInterval);
  spec->set_temperature_scale(kTemperatureScale);
  OutsidePeriod(spec->n_layers(), kNopePeriod, [&](uint32_t layer) { spec->add_sliding_layers(layer); });
  for (uint32_t layer = kNopePeriod - 1; layer < spec->n_layers(); layer += kNopePeriod)
    spec->add_nope_layers(layer);
}

void ReadLlama4Gguf(Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("expert_count", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("expert_used_count", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("expert_feed_forward_length", 1, kMaxDim));
  OutsidePeriod(spec->n_layers(), in->Count("interleave_moe_layer_step", 0, kMaxLayers),
                [&](uint32_t layer) { spec->add_dense_layers(layer); });
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("feed_forward_length", 1, kMaxDim));
  ReadGgufAttention(in, spec);
}

// A list with a number for each layer, at least; null where there is none.
const nlohmann::json* ListOf(const Checkpoint& checkpoint, const char* key, size_t least, Parameters* in) {
  if (!in->Has(key)) return nullptr;
  const auto found = checkpoint.metadata.find(key);
  if (found->is_array() && (found->empty() || found->size() >= least))
    return found->empty() ? nullptr : &*found;
  in->Problem(key, fmt::format("expected a list of at least {} values", least));
  return nullptr;
}

// Layers with rotation are marked 1; each kNopePeriod-th has none where nothing is marked.
std::vector<bool> RotatedLayers(const Checkpoint& checkpoint, Parameters* in, const ModelSpec& spec) {
  std::vector<bool> rotated(spec.n_layers(), true);
  const uint32_t period = in->CountOr("no_rope_layer_interval", kNopePeriod, 1, kMaxLayers);
  const nlohmann::json* marks = ListOf(checkpoint, "no_rope_layers", spec.n_layers(), in);
  for (uint32_t layer = 0; layer < spec.n_layers(); ++layer) {
    rotated[layer] = marks == nullptr ? (layer + 1) % period != 0 : (*marks)[layer] == 1;
    if (marks != nullptr && !rotated[layer] && (*marks)[layer] != 0)
      in->Problem("no_rope_layers", fmt::format("expected 0 or 1, found {}", ShownJson((*marks)[layer])));
  }
  return rotated;
}

void ReadHfAttention(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  const std::vector<bool> rotated = RotatedLayers(checkpoint, in, *spec);
  // null, unlike absent, means none.
  const bool chunked =
      in->Has("attention_chunk_size") || !checkpoint.metadata.contains("attention_chunk_size");
  const uint32_t chunk = chunked ? in->CountOr("attention_chunk_size", kChunk, 1, kMaxContext) : 0;
  const nlohmann::json* types = ListOf(checkpoint, "layer_types", spec->n_layers(), in);
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if (!rotated[layer]) spec->add_nope_layers(layer);
    if (types != nullptr && (*types)[layer] != "chunked_attention" && (*types)[layer] != "full_attention")
      in->Problem("layer_types", fmt::format("expected chunked_attention or full_attention, found {}",
                                             ShownJson((*types)[layer])));
    if (types == nullptr ? rotated[layer] && chunked : (*types)[layer] == "chunked_attention")
      spec->add_sliding_layers(layer);
  }
  if (spec->sliding_layers_size() > 0) {
    if (chunk == 0) in->Problem("attention_chunk_size", "is null, but layer_types has chunked_attention");
    spec->set_attention_chunk(chunk);
  }
  spec->set_qk_l2_norm(in->FlagOr("use_qk_norm", true));
  const uint32_t interval = in->CountOr("floor_scale", kTemperatureInterval, 1, kMaxContext);
  const double scale = in->NumberOr("attn_scale", double{kTemperatureScale});
  if (!in->FlagOr("attn_temperature_tuning", true)) return;
  spec->set_temperature_interval(interval);
  spec->set_temperature_scale(static_cast<float>(scale));
}

void ReadHfMoeLayers(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  const uint32_t step = in->CountOr("interleave_moe_layer_step", 1, 1, kMaxLayers);
  std::vector<bool> dense(spec->n_layers(), false);
  OutsidePeriod(spec->n_layers(), step, [&](uint32_t layer) { dense[layer] = true; });
  if (in->Has("moe_layers")) {
    const nlohmann::json& listed = checkpoint.metadata.at("moe_layers");
    dense.assign(spec->n_layers(), true);
    for (const nlohmann::json& layer : listed.is_array() ? listed : nlohmann::json::array()) {
      if (!layer.is_number_integer() || layer < 0 || layer >= spec->n_layers())
        return in->Problem("moe_layers", fmt::format("expected layers from 0 to {}", spec->n_layers() - 1));
      dense[layer.get<uint32_t>()] = false;
    }
  }
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer)
    if (dense[layer]) spec->add_dense_layers(layer);
}

void ReadLlama4Hf(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("num_local_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->CountOr("num_experts_per_tok", 1, 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
  ReadHfMoeLayers(checkpoint, in, spec);
  if (spec->dense_layers_size() > 0)
    spec->set_intermediate_dim(in->Count("intermediate_size_mlp", 1, kMaxDim));
  ReadHfAttention(checkpoint, in, spec);
  CheckHfBias(checkpoint, "attention_bias", false, in);
}

void ReadLlama4(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(checkpoint, {.rope_theta = 500000}, &in, spec);
  checkpoint.format == CheckpointFormat::kGguf ? ReadLlama4Gguf(&in, spec)
                                               : ReadLlama4Hf(checkpoint, &in, spec);
  spec->set_shared_intermediate_dim(spec->moe_intermediate_dim());
  spec->set_gating(ModelSpec::SIGMOID);
  spec->set_weights_scale_inputs(true);
  spec->set_rope_style(ModelSpec::PAIRWISE);
  CheckTransformer(&in, *spec);
}

Family::TensorRow Transposed(Family::TensorRow row) {
  row.transposed = true;
  return row;
}

std::vector<Family::TensorRow> FeedForwardRows() {
  constexpr const char* kGateUp = "model.layers.{L}.feed_forward.experts.gate_up_proj";
  constexpr const char* kDown = "model.layers.{L}.feed_forward.experts.down_proj";
  return {
      {Weight::DENSE_GATE, "blk.{L}.ffn_gate.weight", "model.layers.{L}.feed_forward.gate_proj.weight"},
      {Weight::DENSE_UP, "blk.{L}.ffn_up.weight", "model.layers.{L}.feed_forward.up_proj.weight"},
      {Weight::DENSE_DOWN, "blk.{L}.ffn_down.weight", "model.layers.{L}.feed_forward.down_proj.weight"},
      {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight", "model.layers.{L}.feed_forward.router.weight"},
      Transposed(
          {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight", kGateUp, false, HasFusedExperts, 0, 2}),
      Transposed({Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight", kGateUp, false, HasFusedExperts, 1, 2}),
      Transposed({Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight", kDown, false, HasFusedExperts}),
      {Weight::EXPERT_GATE, "", "model.layers.{L}.feed_forward.experts.{E}.gate_proj.weight", false,
       HasPlainExperts},
      {Weight::EXPERT_UP, "", "model.layers.{L}.feed_forward.experts.{E}.up_proj.weight", false,
       HasPlainExperts},
      {Weight::EXPERT_DOWN, "", "model.layers.{L}.feed_forward.experts.{E}.down_proj.weight", false,
       HasPlainExperts},
      {Weight::SHARED_GATE, "blk.{L}.ffn_gate_shexp.weight",
       "model.layers.{L}.feed_forward.shared_expert.gate_proj.weight"},
      {Weight::SHARED_UP, "blk.{L}.ffn_up_shexp.weight",
       "model.layers.{L}.feed_forward.shared_expert.up_proj.weight"},
      {Weight::SHARED_DOWN, "blk.{L}.ffn_down_shexp.weight",
       "model.layers.{L}.feed_forward.shared_expert.down_proj.weight"},
  };
}

}  // namespace

const Family& Llama4Family() {
  static const Family family = {
      "llama4",
      {"llama4"},
      {"llama4_text"},
      ReadLlama4,
      Joined({AttentionRows(), {OutputBiasRow(), RopeFactorsRow()}, FeedForwardRows()})};
  return family;
}

}  // namespace onecopy
