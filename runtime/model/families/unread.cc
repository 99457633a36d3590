// Hyper-parameters that a family did not ask for: a problem are those that say something and whose names tell that something
// is computed with them, but for those that are known to be harmless. Others (training, generation, tools, whatever a
// converter notes) are left alone: a model that runs everywhere else must not be refused for them.
// Sources: gguf-py constants.py; config classes of transformers.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "runtime/model/families/families.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using nlohmann::json;
using proto::ModelSpec;

// Counted from tensors, said again in another key that was read, or of another use than text.
constexpr std::string_view kGgufHarmless[] = {
    "vocab_size", "tensor_data_layout", "pooling_type", "feed_forward_length", "expert_feed_forward_length",
    "attention.layer_norm_epsilon", "attention.key_length", "attention.value_length",
    // of pictures: positions, of which those of text are equal, and what is added in some layers
    "rope.dimension_sections", "n_deepstack_layers", "deepstack_mapping",
    // of a scaling that is not used
    "rope.scaling.finetuned", "rope.scaling.factor", "rope.scale_linear",
    "rope.scaling.original_context_length", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_log_multiplier"};

// Of layers with a window, and the key that says it of all.
constexpr std::pair<std::string_view, std::string_view> kGgufOfWindows[] = {
    {"rope.freq_base_swa", "rope.freq_base"},
    {"rope.dimension_count_swa", "rope.dimension_count"},
    {"attention.key_length_swa", "attention.key_length"},
    {"attention.value_length_swa", "attention.value_length"}};

// Parts of names. Those of GGUF, whose keys are few and terse, count there besides.
constexpr std::string_view kGgufOperands[] = {"scale",   "causal", "ssm.", "shared_kv",  "sliding_window",
                                              "every_n", "norm",   "_swa", "layer_step", "chunk"};
constexpr std::string_view kOperands[] = {"softcap",
                                          "multiplier",
                                          "alibi",
                                          "clip",
                                          "clamp",
                                          "_scale",
                                          "scale_",
                                          "scaling",
                                          "scalar",
                                          "norm_type",
                                          "normalization",
                                          "qk_norm",
                                          "qk_layernorm",
                                          "activation",
                                          "act_fn",
                                          "swiglu",
                                          "rope",
                                          "rotary",
                                          "position_embedding",
                                          "residual",
                                          "sink",
                                          "temperature_tuning",
                                          "index_topk",
                                          "indexer",
                                          "zero_expert",
                                          "parallel_attn",
                                          "mup",
                                          "gating",
                                          "topk_method",
                                          "scoring",
                                          "latent",
                                          "lora_rank",
                                          "altup",
                                          "hash_layer",
                                          "attention_type",
                                          "attn_type",
                                          "_beta"};

// Zero, false, nothing, or a list of these: what it names is not there.
bool SaysNothing(const json& value) {
  if (value.is_array() || value.is_object()) return std::all_of(value.begin(), value.end(), SaysNothing);
  // NOLINTNEXTLINE(readability-container-size-empty): JSON's empty() is false for every string
  return value.is_null() || value == false || value == 0 || value == "";
}

// Beyond that: a factor of 1, or what every family here has.
bool SaysThePlain(const json& value) {
  for (const json& plain :
       {json(1), json("silu"), json("rmsnorm"), json("rms_norm"), json("rope"), json("default")})
    if (value == plain) return true;
  return SaysNothing(value);
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

bool IsHarmlessInGguf(const std::string& key, const json& value, const Parameters& in,
                      const ModelSpec& spec) {
  if (SaysNothing(value)) return key != "attention.causal";
  if (key == "attention.causal") return value == true;
  if (std::find(std::begin(kGgufHarmless), std::end(kGgufHarmless), key) != std::end(kGgufHarmless))
    return true;
  if (spec.n_experts() == 0 && key.starts_with("expert_")) return true;
  for (const auto& [of_windows, of_all] : kGgufOfWindows) {
    const json* all = key == of_windows ? in.Value(std::string(of_all)) : nullptr;
    if (key == of_windows && (spec.sliding_layers_size() == 0 || (all != nullptr && *all == value)))
      return true;
  }
  return (key == "rope.scaling.attn_factor" || key == "rope.scaling.yarn_attn_factor") && value == 1;
}

bool TellsOfArithmetic(const std::string& key, bool gguf) {
  const auto named = [&](std::string_view part) { return Contains(key, part); };
  return std::any_of(std::begin(kOperands), std::end(kOperands), named) ||
         (gguf && std::any_of(std::begin(kGgufOperands), std::end(kGgufOperands), named));
}

}  // namespace

void RefuseUnread(const ModelSpec& spec, bool gguf, Parameters* in) {
  for (const std::string& key : in->Unread()) {
    const json& value = *in->Value(key);
    if (!TellsOfArithmetic(key, gguf)) continue;
    if (gguf ? IsHarmlessInGguf(key, value, *in, spec) : SaysThePlain(value)) continue;
    in->Problem(key,
                fmt::format("{} is not supported in this family: ignored, it could make the answers wrong",
                            ShownJson(value)));
  }
}

}  // namespace onecopy
