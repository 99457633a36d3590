// What the families share. Defaults for absent keys are those of llama.cpp (GGUF) and transformers
// (config.json).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"
#include "runtime/model/json_file.h"
#include "runtime/model/quantization.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

// The key, or what the heads share out; 0 when that leaves a rest, which CheckTransformer reports.
uint32_t HeadDim(const char* key, Parameters* in, const ModelSpec& spec) {
  if (in->Has(key)) return in->Count(key, 1, kMaxDim);
  return spec.hidden_dim() % spec.n_heads() == 0 ? spec.hidden_dim() / spec.n_heads() : 0;
}

// One as long as the context hides nothing.
template <typename IsSliding>
void SetWindow(uint32_t window, IsSliding is_sliding, ModelSpec* spec) {
  if (window == 0 || window >= spec->context_length()) return;
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if (is_sliding(layer)) spec->add_sliding_layers(layer);
  }
  if (spec->sliding_layers_size() > 0) spec->set_sliding_window(window);
}

// Rows of the embedding, or the tokens when it is missing, which is reported with the other missing tensors.
uint32_t GgufVocabulary(const Checkpoint& checkpoint, Parameters* in) {
  uint64_t rows = 0;
  if (const TensorInfo* embedding = checkpoint.Find("token_embd.weight")) {
    rows = embedding->shape.front();
  } else if (checkpoint.metadata.contains("tokenizer.ggml.tokens")) {
    rows = checkpoint.metadata.at("tokenizer.ggml.tokens").size();
  }
  if (in->Has("vocab_size")) return in->Count("vocab_size", 1, kMaxDim);
  if (rows < 1 || rows > kMaxDim) {
    in->Problem("vocab_size", fmt::format("is missing, and the tensors suggest {} tokens", rows));
    return 1;
  }
  return static_cast<uint32_t>(rows);
}

// Files that say nothing of a pattern have the window in every layer.
void ReadGgufWindow(Parameters* in, ModelSpec* spec) {
  const uint32_t window = in->CountOr("attention.sliding_window", 0, 0, kMaxContext);
  if (in->Has("attention.sliding_window_pattern"))
    in->Problem("attention.sliding_window_pattern", "is not supported in this family");
  SetWindow(
      window, [](uint32_t) { return true; }, spec);
}

// Factors of Granite and others, which no plain transformer has.
void RefuseGgufFactors(Parameters* in) {
  for (const char* key : {"attention.scale", "embedding_scale", "residual_scale", "logit_scale",
                          "attn_logit_softcapping", "final_logit_softcapping", "attention.max_alibi_bias",
                          "attention.clamp_kqv", "attention.temperature_scale"}) {
    if (in->NumberOr(key, 0) != 0) in->Problem(key, "is not supported in this family");
  }
}

void ReadGgufSizes(const Checkpoint& checkpoint, bool kv_heads_by_layer, Parameters* in, ModelSpec* spec) {
  spec->set_n_layers(in->Count("block_count", 1, kMaxLayers));
  spec->set_context_length(in->Count("context_length", 1, kMaxContext));
  spec->set_hidden_dim(in->Count("embedding_length", 1, kMaxDim));
  spec->set_n_heads(in->Count("attention.head_count", 1, kMaxHeads));
  if (!kv_heads_by_layer)
    spec->set_n_kv_heads(in->CountOr("attention.head_count_kv", spec->n_heads(), 1, kMaxHeads));
  spec->set_rms_norm_eps(in->Positive("attention.layer_norm_rms_epsilon"));
  spec->set_vocab_size(GgufVocabulary(checkpoint, in));
  spec->set_tied_embeddings(checkpoint.Find("output.weight") == nullptr);
}

void ReadGgufHeads(Parameters* in, ModelSpec* spec) {
  spec->set_head_dim(HeadDim("attention.key_length", in, *spec));
  if (spec->head_dim() != 0 &&
      in->CountOr("attention.value_length", spec->head_dim(), 1, kMaxDim) != spec->head_dim()) {
    in->Problem("attention.value_length", "another length than that of keys is not supported yet");
  }
  spec->set_rope_dims(in->CountOr("rope.dimension_count", spec->head_dim(), 1, kMaxDim));
}

void ReadHfWindow(const Checkpoint& checkpoint, HfDefaults::Window meaning, Parameters* in, ModelSpec* spec) {
  using Window = HfDefaults::Window;
  constexpr uint32_t kDefaultWindow = 4096;
  const bool switched = meaning == Window::kSwitchedUpperLayers || meaning == Window::kSwitchedEveryLayer;
  if (switched && !in->FlagOr("use_sliding_window", false)) return;
  const uint32_t window = in->CountOr("sliding_window", switched ? kDefaultWindow : 0, 1, kMaxContext);
  if (window == 0 || window >= spec->context_length()) return;
  if (meaning == Window::kNone)
    return in->Problem(in->Has("use_sliding_window") ? "use_sliding_window" : "sliding_window",
                       "is not supported in this family");
  if (const auto types = checkpoint.metadata.find("layer_types");
      types != checkpoint.metadata.end() && !types->is_null()) {
    if (!types->is_array() || types->size() != spec->n_layers())
      return in->Problem("layer_types", fmt::format("expected a list of {} layers", spec->n_layers()));
    for (const nlohmann::json& type : *types) {
      if (type != "sliding_attention" && type != "full_attention")
        return in->Problem("layer_types", fmt::format("{} is not supported in this family", ShownJson(type)));
    }
    return SetWindow(
        window, [&](uint32_t layer) { return (*types)[layer] == "sliding_attention"; }, spec);
  }
  const bool upper = meaning == Window::kSwitchedUpperLayers || meaning == Window::kUpperLayers;
  const uint32_t first = upper ? in->CountOr("max_window_layers", switched ? 28 : 62, 0, kMaxLayers) : 0;
  SetWindow(
      window, [&](uint32_t layer) { return layer >= first; }, spec);
}

void ReadHfSizes(const Checkpoint& checkpoint, bool kv_heads_default, Parameters* in, ModelSpec* spec) {
  spec->set_n_layers(in->Count("num_hidden_layers", 1, kMaxLayers));
  spec->set_context_length(in->Count("max_position_embeddings", 1, kMaxContext));
  spec->set_hidden_dim(in->Count("hidden_size", 1, kMaxDim));
  spec->set_n_heads(in->Count("num_attention_heads", 1, kMaxHeads));
  // null means as many as query heads; absent means a default of the class.
  const bool as_many = !in->Has("num_key_value_heads") &&
                       (kv_heads_default || checkpoint.metadata.contains("num_key_value_heads"));
  spec->set_n_kv_heads(as_many ? spec->n_heads() : in->Count("num_key_value_heads", 1, kMaxHeads));
  const bool other_name = !in->Has("rms_norm_eps") && in->Has("layernorm_epsilon");  // MiMo's
  spec->set_rms_norm_eps(in->Positive(other_name ? "layernorm_epsilon" : "rms_norm_eps"));
  spec->set_vocab_size(in->Count("vocab_size", 1, kMaxDim));
  spec->set_tied_embeddings(in->FlagOr("tie_word_embeddings", false));
}

void ReadHfHeads(const Checkpoint& checkpoint, double rotary_share, Parameters* in, ModelSpec* spec) {
  spec->set_head_dim(HeadDim("head_dim", in, *spec));
  const double share = HfRotaryShare(checkpoint, in, rotary_share);
  spec->set_rope_dims(static_cast<uint32_t>(spec->head_dim() * share));
}

}  // namespace

Parameters OpenParameters(const Checkpoint& checkpoint) {
  if (checkpoint.format == CheckpointFormat::kHuggingFace) {
    return Parameters(checkpoint.metadata, checkpoint.path + "/config.json", "");
  }
  return Parameters(checkpoint.metadata, checkpoint.path,
                    checkpoint.metadata.at("general.architecture").get<std::string>() + ".");
}

void RefuseHfQuantization(const Checkpoint& checkpoint, Parameters* in) {
  std::vector<std::string> problems;
  ReadQuantization(checkpoint.metadata, &problems);
  for (const std::string& problem : problems) in->Problem("quantization_config", problem);
}

void ReadSizes(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec, bool kv_heads_default,
               bool kv_heads_by_layer) {
  checkpoint.format == CheckpointFormat::kGguf ? ReadGgufSizes(checkpoint, kv_heads_by_layer, in, spec)
                                               : ReadHfSizes(checkpoint, kv_heads_default, in, spec);
}

void RequireSilu(Parameters* in) {
  const std::string activation = in->TextOr("hidden_act", "silu");
  if (activation != "silu")
    in->Problem("hidden_act", fmt::format("expected silu, found {}", Printable(activation)));
}

void CheckHfBias(const Checkpoint& checkpoint, const char* key, bool fallback, Parameters* in) {
  if (checkpoint.format != CheckpointFormat::kHuggingFace) return;
  const bool has_bias = checkpoint.Find("model.layers.0.self_attn.q_proj.bias") != nullptr;
  if (in->FlagOr(key, fallback) == has_bias) return;
  in->Problem(key, fmt::format("is {}, but model.layers.0.self_attn.q_proj.bias is {}",
                               has_bias ? "false" : "true", has_bias ? "there" : "missing"));
}

void ReadTransformer(const Checkpoint& checkpoint, const HfDefaults& defaults, Parameters* in,
                     ModelSpec* spec) {
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadSizes(checkpoint, in, spec, defaults.kv_heads);
  gguf ? ReadGgufHeads(in, spec) : ReadHfHeads(checkpoint, defaults.rotary_share, in, spec);
  ReadRope(checkpoint, in, spec, defaults.rope_theta);
  // Only DeepSeek's attention has a temperature for the softmax.
  spec->mutable_rope_scaling()->clear_softmax_factor();
  if (gguf) {
    ReadGgufWindow(in, spec);
    if (!defaults.factors) RefuseGgufFactors(in);
    return;
  }
  RequireSilu(in);
  RefuseHfQuantization(checkpoint, in);
  ReadHfWindow(checkpoint, defaults.window, in, spec);
}

void CheckTransformer(Parameters* in, const ModelSpec& spec) {
  const bool gguf_names = in->Value("attention.head_count") != nullptr;
  RefuseUnread(spec, gguf_names, in);
  in->Check();
  const uint32_t heads = spec.n_heads(), kv_heads = spec.n_kv_heads();
  const char* heads_key = gguf_names ? "attention.head_count" : "num_attention_heads";
  for (const uint32_t n : {kv_heads, spec.sliding_kv_heads() == 0 ? kv_heads : spec.sliding_kv_heads()}) {
    if (heads % n == 0) continue;
    in->Problem(heads_key, fmt::format("{} query heads are not a multiple of {} key-value heads", heads, n));
  }
  const uint32_t longest = std::max(spec.head_dim(), spec.v_head_dim());
  if (static_cast<uint64_t>(heads) * longest > kMaxDim)
    in->Problem(heads_key, fmt::format("{} heads of {} elements are above {}", heads, longest, kMaxDim));
  if (spec.head_dim() == 0) {
    in->Problem(gguf_names ? "embedding_length" : "hidden_size",
                fmt::format("expected a multiple of the {} heads, found {}", heads, spec.hidden_dim()));
  } else if (spec.rope_dims() == 0 || spec.rope_dims() % 2 != 0 || spec.rope_dims() > spec.head_dim()) {
    in->Problem(gguf_names ? "rope.dimension_count" : "head_dim",
                fmt::format("rope needs an even number of at most {} dimensions, found {}", spec.head_dim(),
                            spec.rope_dims()));
  }
  if (spec.n_experts_used() > spec.n_experts()) {
    in->Problem(gguf_names ? "expert_used_count" : "num_experts_per_tok",
                fmt::format("{} experts are chosen of only {}", spec.n_experts_used(), spec.n_experts()));
  }
  in->Check();
}

}  // namespace onecopy
