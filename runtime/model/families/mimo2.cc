// MiMo-V2-Flash: most layers attend over a short window, with sinks, a rope base and key-value heads of their own, the others
// over everything; values are shorter than keys, and scaled; sigmoid routing with a correction bias, no shared expert; layers
// for multi-token prediction are left out. Sources: transformers' MiMoV2FlashForCausalLM, and the names of the published
// config.json (hybrid_layer_pattern, swa_*) that llama.cpp's conversion reads; llama.cpp's architecture mimo2. The two count
// the window differently: transformers adds the token's own position to sliding_window_size, llama.cpp does not.
#include <fmt/format.h>

#include <vector>

#include "runtime/model/families/families.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using nlohmann::json;
using proto::ModelSpec;
using proto::Weight;

constexpr uint32_t kDefaultWindow = 129, kFullPeriod = 6, kPublishedNextn = 3;
constexpr float kFullTheta = 5e6f, kSlidingTheta = 1e4f;
constexpr double kRotaryShare = 0.334, kValueScale = 0.707;

// A list of at least one value a layer; null, with a problem where it is something else, when there is none.
const json* LayersOf(const Checkpoint& checkpoint, const std::string& key, const char* name, Parameters* in,
                     const ModelSpec& spec) {
  if (!in->Has(name)) return nullptr;
  const auto found = checkpoint.metadata.find(key);
  if (found->is_array() && found->size() >= spec.n_layers()) return &*found;
  in->Problem(name, fmt::format("expected a list of {} layers", spec.n_layers()));
  return nullptr;
}

// Whether a value of such a list is `yes`, not `no`; a problem for any other.
bool IsMarked(const json& value, const json& yes, const json& no, const char* name, Parameters* in) {
  if (value == yes || value == json(true)) return true;
  if (value != no && value != json(false))
    in->Problem(name, fmt::format("expected {} or {}, found {}", yes.dump(), no.dump(), ShownJson(value)));
  return false;
}

void ReadGgufKvHeads(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  constexpr const char* kKey = "attention.head_count_kv";
  const auto found = checkpoint.metadata.find(std::string("mimo2.") + kKey);
  if (found == checkpoint.metadata.end() || !found->is_array()) {
    spec->set_n_kv_heads(in->Count(kKey, 1, kMaxHeads));
    return;
  }
  const json* counts = LayersOf(checkpoint, std::string("mimo2.") + kKey, kKey, in, *spec);
  spec->set_n_kv_heads(1);
  if (counts == nullptr) return;
  uint32_t of_kind[2] = {0, 0};
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    const json& count = (*counts)[layer];
    if (!count.is_number_integer() || count < 1 || count > kMaxHeads)
      return in->Problem(kKey,
                         fmt::format("expected numbers from 1 to {}, found {}", kMaxHeads, ShownJson(count)));
    uint32_t& heads = of_kind[IsSlidingLayer(*spec, layer) ? 1 : 0];
    if (heads != 0 && heads != count)
      return in->Problem(kKey, "layers of one kind with other numbers of heads are not supported");
    heads = count.get<uint32_t>();
  }
  spec->set_n_kv_heads(of_kind[0] != 0 ? of_kind[0] : of_kind[1]);
  spec->set_sliding_kv_heads(of_kind[1]);
}

void ReadMimo2Gguf(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  ReadGgufNextn(in, spec);
  spec->set_head_dim(in->Count("attention.key_length", 1, kMaxDim));
  spec->set_v_head_dim(in->Count("attention.value_length", 1, kMaxDim));
  spec->set_rope_dims(in->Count("rope.dimension_count", 1, kMaxDim));
  spec->set_sliding_window(in->Count("attention.sliding_window", 1, kMaxContext));
  constexpr const char* kPattern = "attention.sliding_window_pattern";
  const json* pattern = LayersOf(checkpoint, std::string("mimo2.") + kPattern, kPattern, in, *spec);
  if (!in->Has(kPattern)) in->Problem(kPattern, "is missing");
  for (uint32_t layer = 0; pattern != nullptr && layer < spec->n_layers(); ++layer)
    if (IsMarked((*pattern)[layer], 1, 0, kPattern, in)) spec->add_sliding_layers(layer);
  ReadGgufKvHeads(checkpoint, in, spec);
  spec->set_sliding_rope_theta(in->PositiveOr("rope.freq_base_swa", spec->rope_theta()));
  const double value_scale = in->NumberOr("attention.value_scale", 1);
  spec->set_value_scale(value_scale == 1 ? 0 : static_cast<float>(value_scale));
  ReadGgufExperts({.gating = ModelSpec::SIGMOID}, in, spec);
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer)
    if (checkpoint.Find(fmt::format("blk.{}.ffn_gate_inp.weight", layer)) == nullptr)
      spec->add_dense_layers(layer);
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("feed_forward_length", 1, kMaxDim));
}

// What of rope_parameters' two kinds of layers is theirs: {base, share of rotated dimensions}.
void ReadHfRope(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  float theta[2] = {in->PositiveOr("rope_theta", kFullTheta),
                    in->PositiveOr("swa_rope_theta", kSlidingTheta)};
  double share = in->NumberOr("partial_rotary_factor", kRotaryShare);
  const auto rope = checkpoint.metadata.find("rope_parameters");
  const char* kinds[] = {"full_attention", "sliding_attention"};
  for (int kind = 0; kind < 2 && in->Has("rope_parameters") && rope->is_object(); ++kind) {
    if (!rope->contains(kinds[kind]) || !rope->at(kinds[kind]).is_object()) continue;
    const json& one = rope->at(kinds[kind]);
    Parameters nested(one, fmt::format("{}/config.json: rope_parameters.{}", checkpoint.path, kinds[kind]),
                      "");
    theta[kind] = nested.PositiveOr("rope_theta", theta[kind]);
    const double of_kind = nested.NumberOr("partial_rotary_factor", kRotaryShare);
    if (kind == 1 && of_kind != share)
      nested.Problem("partial_rotary_factor", "differs from full_attention's");
    share = of_kind;
    if (nested.TextOr("rope_type", "default") != "default")
      nested.Problem("rope_type", "only default is supported in this family");
    nested.Check();
  }
  if (in->Has("rope_scaling")) {
    const json& scaling = checkpoint.metadata.at("rope_scaling");
    const auto type = scaling.is_object() ? scaling.find("type") : scaling.end();
    if (!scaling.is_object() || (type != scaling.end() && *type != "default"))
      in->Problem("rope_scaling", "is not supported in this family");
  }
  if (!(share > 0 && share <= 1)) {
    in->Problem("partial_rotary_factor",
                fmt::format("expected a number above 0 and at most 1, found {}", share));
    share = 1;
  }
  spec->set_rope_theta(theta[0]);
  spec->set_sliding_rope_theta(theta[1]);
  spec->set_rope_dims(static_cast<uint32_t>(spec->head_dim() * share));
}

void ReadMimo2HfLayers(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  const json* types = LayersOf(checkpoint, "layer_types", "layer_types", in, *spec);
  const json* pattern = LayersOf(checkpoint, "hybrid_layer_pattern", "hybrid_layer_pattern", in, *spec);
  const json* mlps = LayersOf(checkpoint, "mlp_layer_types", "mlp_layer_types", in, *spec);
  const json* moe = LayersOf(checkpoint, "moe_layer_freq", "moe_layer_freq", in, *spec);
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    bool sliding = layer != 0 && (layer + 1) % kFullPeriod != 0, dense = layer == 0;
    if (types != nullptr)
      sliding = IsMarked((*types)[layer], "sliding_attention", "full_attention", "layer_types", in);
    else if (pattern != nullptr)
      sliding = IsMarked((*pattern)[layer], 1, 0, "hybrid_layer_pattern", in);
    if (mlps != nullptr)
      dense = IsMarked((*mlps)[layer], "dense", "sparse", "mlp_layer_types", in);
    else if (moe != nullptr)
      dense = !IsMarked((*moe)[layer], 1, 0, "moe_layer_freq", in);
    if (sliding) spec->add_sliding_layers(layer);
    if (dense) spec->add_dense_layers(layer);
  }
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
}

// What the published file says of the layers with a window and the class takes for granted.
void RefuseOtherHeads(Parameters* in, const ModelSpec& spec) {
  const std::pair<const char*, uint32_t> same[] = {{"swa_num_attention_heads", spec.n_heads()},
                                                   {"swa_head_dim", spec.head_dim()},
                                                   {"swa_v_head_dim", spec.v_head_dim()}};
  for (const auto& [key, value] : same)
    if (in->CountOr(key, value, 1, kMaxDim) != value)
      in->Problem(key, fmt::format("expected {}, as in the other layers", value));
  if (!in->FlagOr("add_swa_attention_sink_bias", true))
    in->Problem("add_swa_attention_sink_bias", "expected true, found false");
  if (in->FlagOr("add_full_attention_sink_bias", false))
    in->Problem("add_full_attention_sink_bias", "expected false, found true");
  if (in->TextOr("scoring_func", "sigmoid") != "sigmoid") in->Problem("scoring_func", "expected sigmoid");
  if (in->TextOr("topk_method", "noaux_tc") != "noaux_tc") in->Problem("topk_method", "expected noaux_tc");
  if (in->CountOr("n_shared_experts", 0, 0, kMaxExperts) != 0)
    in->Problem("n_shared_experts", "is not supported in this family");
}

void ReadMimo2Hf(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_head_dim(in->CountOr("head_dim", 192, 1, kMaxDim));
  spec->set_v_head_dim(in->CountOr("v_head_dim", 128, 1, kMaxDim));
  spec->set_sliding_kv_heads(in->CountOr("swa_num_key_value_heads", 2 * spec->n_kv_heads(), 1, kMaxHeads));
  spec->set_sliding_window(in->Has("sliding_window_size")
                               ? in->Count("sliding_window_size", 1, kMaxContext) + 1
                               : in->CountOr("sliding_window", kDefaultWindow, 1, kMaxContext));
  ReadHfRope(checkpoint, in, spec);
  ReadMimo2HfLayers(checkpoint, in, spec);
  const bool scaled =
      in->Has("attention_value_scale") || !checkpoint.metadata.contains("attention_value_scale");
  const double value_scale = scaled ? in->NumberOr("attention_value_scale", kValueScale) : 1;
  spec->set_value_scale(value_scale == 1 ? 0 : static_cast<float>(value_scale));
  spec->set_n_experts(in->Count("n_routed_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("moe_intermediate_size", 1, kMaxDim));
  spec->set_norm_topk_prob(in->FlagOr("norm_topk_prob", true));
  spec->set_routed_scaling_factor(in->PositiveOr("routed_scaling_factor", 1));
  spec->set_gating(ModelSpec::SIGMOID);
  spec->set_n_group(in->CountOr("n_group", 1, 1, kMaxExperts));
  spec->set_topk_group(in->CountOr("topk_group", 1, 1, kMaxExperts));
  spec->set_group_score(ModelSpec::GROUP_TOP2_SUM);
  spec->set_n_nextn_layers(kPublishedNextn);  // of model.mtp, where it is there
  RefuseOtherHeads(in, *spec);
  CheckHfBias(checkpoint, "attention_bias", false, in);
  RequireSilu(in);
  RefuseHfQuantization(checkpoint, in);
}

void ReadMimo2(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadSizes(checkpoint, &in, spec, /*kv_heads_default=*/false, /*kv_heads_by_layer=*/true);
  if (gguf) {
    ReadRope(checkpoint, &in, spec);
    if (spec->rope_scaling().kind() != proto::RopeScaling::NONE)
      in.Problem("rope.scaling.type", "is not supported in this family");
    ReadMimo2Gguf(checkpoint, &in, spec);
  } else {
    ReadMimo2Hf(checkpoint, &in, spec);
  }
  spec->set_sinks_in_sliding_layers(true);
  spec->set_rope_style(ModelSpec::NEOX);
  CheckGroups(gguf, &in, *spec);
  CheckTransformer(&in, *spec);
}

bool HasPublishedSinks(const Checkpoint& checkpoint, const ModelSpec& spec) {
  if (checkpoint.format == CheckpointFormat::kGguf || spec.sliding_layers().empty()) return false;
  return checkpoint.Find(
             fmt::format("model.layers.{}.self_attn.attention_sink_bias", spec.sliding_layers(0))) != nullptr;
}
bool HasSinks(const Checkpoint& checkpoint, const ModelSpec& spec) {
  return !HasPublishedSinks(checkpoint, spec);
}

std::vector<Family::TensorRow> SinkRows() {
  return {
      {Weight::ATTN_SINKS, "blk.{L}.attn_sinks.weight", "model.layers.{L}.self_attn.sinks", false, HasSinks},
      {Weight::ATTN_SINKS, "", "model.layers.{L}.self_attn.attention_sink_bias", false, HasPublishedSinks},
      {Weight::ROUTER_BIAS, "blk.{L}.exp_probs_b.bias", "model.layers.{L}.mlp.gate.e_score_correction_bias"}};
}

}  // namespace

const Family& Mimo2Family() {
  static const Family family = {"mimo2",
                                {"mimo2"},
                                {"mimo_v2_flash"},
                                ReadMimo2,
                                Joined({AttentionRows(), SinkRows(), DenseRows(), ExpertRows()})};
  return family;
}

}  // namespace onecopy
