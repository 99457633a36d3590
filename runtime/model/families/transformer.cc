// What the families share. Defaults for absent keys are those of llama.cpp (GGUF) and transformers
// (config.json).
#include <fmt/format.h>

#include <utility>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"
#include "runtime/model/quantization.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

// The key, or what the heads share out; 0 when that leaves a rest, which CheckTransformer reports.
uint32_t HeadDim(const char* key, Parameters* in, const ModelSpec& spec) {
  if (in->Has(key)) return in->Count(key, 1, kMaxDim);
  return spec.hidden_dim() % spec.n_heads() == 0 ? spec.hidden_dim() / spec.n_heads() : 0;
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

void RefuseGgufOptions(Parameters* in) {
  const double window = in->NumberOr("attention.sliding_window", 0);
  if (window > 0 && window < in->NumberOr("context_length", 0)) {
    in->Problem("attention.sliding_window", fmt::format("{} is not supported yet", window));
  }
  if (in->NumberOr("expert_shared_count", 0) > 0)
    in->Problem("expert_shared_count", "is not supported in this family");
  if (in->NumberOr("expert_group_count", 0) > 1)
    in->Problem("expert_group_count", "is not supported in this family");
  const double scale = in->NumberOr("expert_weights_scale", 0);
  if (scale != 0 && scale != 1) in->Problem("expert_weights_scale", "is not supported in this family");
  constexpr double kSoftmaxGate = 1;
  if (in->NumberOr("expert_gating_func", kSoftmaxGate) != kSoftmaxGate) {
    in->Problem("expert_gating_func", "only softmax (1) is supported in this family");
  }
}

void ReadGgufSizes(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_n_layers(in->Count("block_count", 1, kMaxLayers));
  spec->set_context_length(in->Count("context_length", 1, kMaxContext));
  spec->set_hidden_dim(in->Count("embedding_length", 1, kMaxDim));
  spec->set_n_heads(in->Count("attention.head_count", 1, kMaxHeads));
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

void RefuseHfOptions(const Checkpoint& checkpoint, Parameters* in) {
  const std::string activation = in->TextOr("hidden_act", "silu");
  if (activation != "silu") {
    in->Problem("hidden_act", fmt::format("expected silu, found {}", Printable(activation)));
  }
  RefuseHfQuantization(checkpoint, in);
  // Qwen has a switch for the window; Mixtral applies it where it is not null.
  const double window = in->NumberOr("sliding_window", 0);
  if (in->FlagOr("use_sliding_window", window > 0 && window < in->NumberOr("max_position_embeddings", 0))) {
    in->Problem(in->Has("use_sliding_window") ? "use_sliding_window" : "sliding_window",
                "is not supported yet");
  }
}

void ReadHfSizes(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_n_layers(in->Count("num_hidden_layers", 1, kMaxLayers));
  spec->set_context_length(in->Count("max_position_embeddings", 1, kMaxContext));
  spec->set_hidden_dim(in->Count("hidden_size", 1, kMaxDim));
  spec->set_n_heads(in->Count("num_attention_heads", 1, kMaxHeads));
  // null means as many as query heads; absent means a default of the class, which is not guessed here.
  const bool heads_are_null =
      checkpoint.metadata.contains("num_key_value_heads") && !in->Has("num_key_value_heads");
  spec->set_n_kv_heads(heads_are_null ? spec->n_heads() : in->Count("num_key_value_heads", 1, kMaxHeads));
  spec->set_rms_norm_eps(in->Positive("rms_norm_eps"));
  spec->set_vocab_size(in->Count("vocab_size", 1, kMaxDim));
  spec->set_tied_embeddings(in->FlagOr("tie_word_embeddings", false));
}

void ReadHfHeads(Parameters* in, ModelSpec* spec) {
  spec->set_head_dim(HeadDim("head_dim", in, *spec));
  spec->set_rope_dims(spec->head_dim());
  if (in->NumberOr("partial_rotary_factor", 1) != 1)
    in->Problem("partial_rotary_factor", "is not supported yet");
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

void ReadSizes(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  checkpoint.format == CheckpointFormat::kGguf ? ReadGgufSizes(checkpoint, in, spec)
                                               : ReadHfSizes(checkpoint, in, spec);
}

void ReadTransformer(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadSizes(checkpoint, in, spec);
  gguf ? ReadGgufHeads(in, spec) : ReadHfHeads(in, spec);
  ReadRope(checkpoint, RopeSupport::kPlain, in, spec);
  gguf ? RefuseGgufOptions(in) : RefuseHfOptions(checkpoint, in);
}

void CheckTransformer(Parameters* in, const ModelSpec& spec) {
  in->Check();
  const uint32_t heads = spec.n_heads(), kv_heads = spec.n_kv_heads();
  const bool gguf_names = in->Has("attention.head_count");
  const char* heads_key = gguf_names ? "attention.head_count" : "num_attention_heads";
  if (heads % kv_heads != 0) {
    in->Problem(heads_key,
                fmt::format("{} query heads are not a multiple of {} key-value heads", heads, kv_heads));
  }
  if (static_cast<uint64_t>(heads) * spec.head_dim() > kMaxDim) {
    in->Problem(heads_key,
                fmt::format("{} heads of {} elements are above {}", heads, spec.head_dim(), kMaxDim));
  }
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

std::vector<Family::TensorRow> AttentionRows() {
  return {
      {Weight::TOKEN_EMBEDDING, "token_embd.weight", "model.embed_tokens.weight"},
      {Weight::LM_HEAD, "output.weight", "lm_head.weight"},
      {Weight::OUTPUT_NORM, "output_norm.weight", "model.norm.weight"},
      {Weight::ATTN_NORM, "blk.{L}.attn_norm.weight", "model.layers.{L}.input_layernorm.weight"},
      {Weight::ATTN_Q, "blk.{L}.attn_q.weight", "model.layers.{L}.self_attn.q_proj.weight"},
      {Weight::ATTN_K, "blk.{L}.attn_k.weight", "model.layers.{L}.self_attn.k_proj.weight"},
      {Weight::ATTN_V, "blk.{L}.attn_v.weight", "model.layers.{L}.self_attn.v_proj.weight"},
      {Weight::ATTN_O, "blk.{L}.attn_output.weight", "model.layers.{L}.self_attn.o_proj.weight"},
      {Weight::ATTN_Q_BIAS, "blk.{L}.attn_q.bias", "model.layers.{L}.self_attn.q_proj.bias", true},
      {Weight::ATTN_K_BIAS, "blk.{L}.attn_k.bias", "model.layers.{L}.self_attn.k_proj.bias", true},
      {Weight::ATTN_V_BIAS, "blk.{L}.attn_v.bias", "model.layers.{L}.self_attn.v_proj.bias", true},
      {Weight::FFN_NORM, "blk.{L}.ffn_norm.weight", "model.layers.{L}.post_attention_layernorm.weight"},
  };
}

}  // namespace onecopy
