// The families, and what several of them share: the plain transformer's hyper-parameters and attention
// weights.
#pragma once

#include <string>
#include <vector>

#include "runtime/model/model_spec.h"
#include "runtime/model/parameters.h"

namespace onecopy {

const Family& Qwen2Family();
const Family& Qwen3Family();
const Family& Qwen2MoeFamily();
const Family& Qwen3MoeFamily();
const Family& LlamaFamily();
const Family& Llama4Family();
const Family& Mimo2Family();
const Family& MixtralFamily();
const Family& OlmoeFamily();
const Family& Glm4MoeFamily();
const Family& Dots1Family();
const Family& MiniMaxM2Family();
const Family& GraniteFamily();
const Family& Ernie45MoeFamily();
const Family& DeepseekFamily();
const Family& GptOssFamily();
const Family& Qwen3NextFamily();
const Family& Qwen35Family();

// What onecopy lacks for an architecture or model_type that it knows and cannot run; null for others.
const char* WhatFamilyNeeds(const std::string& architecture);

// Far above any model, and small enough that a product of two fits into 64 bits with room to spare.
inline constexpr uint32_t kMaxLayers = 10'000;
inline constexpr uint32_t kMaxDim = 1 << 24;
inline constexpr uint32_t kMaxHeads = 1 << 16;
inline constexpr uint32_t kMaxExperts = 1 << 16;
inline constexpr uint32_t kMaxContext = 1 << 30;

// Metadata of the checkpoint: keys behind "ARCHITECTURE." in GGUF, of config.json otherwise.
Parameters OpenParameters(const Checkpoint& checkpoint);

// What a family's class in transformers takes for granted, where config.json does not say; and what it has beyond others.
struct HfDefaults {
  float rope_theta = 0;    // 0: it must be there
  float rotary_share = 1;  // of a head's dimensions: partial_rotary_factor
  bool kv_heads = false;   // as many as query heads
  // What the key sliding_window means: nothing that is computed; a window of every layer, or of the layers from
  // max_window_layers on (62 of them have none); or, where use_sliding_window says so, one of the layers from
  // max_window_layers on (28 of them have none), or of every layer.
  enum class Window { kNone, kEveryLayer, kUpperLayers, kSwitchedUpperLayers, kSwitchedEveryLayer };
  Window window = Window::kNone;
  bool factors = false;  // of embedding, attention, residual stream and logits, which the family reads itself
};

// Hidden size, layers, heads, vocabulary, context, norm, rope and sliding windows, in the spelling of the checkpoint's
// format. Adds a problem for each option that onecopy does not compute: other activations, lengths of values other than
// of keys, quantization_config.
void ReadTransformer(const Checkpoint& checkpoint, const HfDefaults& defaults, Parameters* in,
                     proto::ModelSpec* spec);

// The parts of ReadTransformer, for families of which the rest is not true.
// Hidden size, layers, numbers of heads, vocabulary, context, norm. Not the key-value heads where a GGUF file has them layer by
// layer and the family reads them so.
void ReadSizes(const Checkpoint& checkpoint, Parameters* in, proto::ModelSpec* spec,
               bool kv_heads_default = false, bool kv_heads_by_layer = false);
// The base of the rotation and its scaling; a problem for a scaling that is not computed. hf_theta: of a config.json
// that has none; 0: it must be there.
void ReadRope(const Checkpoint& checkpoint, Parameters* in, proto::ModelSpec* spec, float hf_theta = 0);
// The model's share of dimensions that are rotated, from config.json; 1 in GGUF, which counts them.
double HfRotaryShare(const Checkpoint& checkpoint, Parameters* in, double fallback);
// A problem for a quantization_config that is not supported (quantization.h), or a hidden_act that is not silu.
void RefuseHfQuantization(const Checkpoint& checkpoint, Parameters* in);
void RequireSilu(Parameters* in);
// config.json's flag for biases of attention must say what the tensors say.
void CheckHfBias(const Checkpoint& checkpoint, const char* key, bool fallback, Parameters* in);

// experts.cc
// What llama.cpp takes for granted of an architecture where a file has no such key.
struct GgufExperts {
  proto::ModelSpec::Gating gating = proto::ModelSpec::SOFTMAX;
  bool norm_topk_prob = true;
  bool shared = false;         // the family has shared experts
  bool leading_dense = false;  // and dense layers first
};
// Experts, gating, shared experts and leading dense layers of a GGUF file, and the dense width where all layers are dense;
// a problem for what the family does not have.
void ReadGgufExperts(const GgufExperts& defaults, Parameters* in, proto::ModelSpec* spec);

// What a class in transformers takes for granted of the experts of DeepSeek's kind.
struct HfFineGrained {
  const char* scoring = "sigmoid";
  const char* sigmoid = "sigmoid";  // what scoring_func calls it in this family's files, too
  const char* topk_method = "noaux_tc";
  bool norm_topk_prob = true;
  float routed_scaling_factor = 1;
  uint32_t first_k_dense = 0;
};
// n_routed_experts, n_shared_experts, groups, first_k_dense_replace or mlp_layer_types, … of config.json.
void ReadHfFineGrainedExperts(const Checkpoint& checkpoint, const HfFineGrained& defaults, Parameters* in,
                              proto::ModelSpec* spec);
// num_experts, … and the dense layers by decoder_sparse_step and mlp_only_layers (Qwen).
void ReadHfQwenExperts(const Checkpoint& checkpoint, Parameters* in, proto::ModelSpec* spec);
// Every layer is dense: the width in both formats.
void ReadDense(const Checkpoint& checkpoint, Parameters* in, proto::ModelSpec* spec);
// Layers for multi-token prediction that a GGUF file counts among its blocks.
void ReadGgufNextn(Parameters* in, proto::ModelSpec* spec);
// A problem where groups and experts do not fit together.
void CheckGroups(bool gguf, Parameters* in, const proto::ModelSpec& spec);

// A problem for each hyper-parameter that the family did not read and that may change what is computed (unread.cc).
void RefuseUnread(const proto::ModelSpec& spec, bool gguf, Parameters* in);

// Refuses parameters that contradict each other, those that were not read, and all problems found before.
void CheckTransformer(Parameters* in, const proto::ModelSpec& spec);

// Rows of tensors that several families share. Embedding, norms and attention; q/k norms are not among them.
std::vector<Family::TensorRow> AttentionRows();
Family::TensorRow OutputBiasRow();
// Of GGUF files of Llama 3.1 and later.
Family::TensorRow RopeFactorsRow();
std::vector<Family::TensorRow> QkNormRows();
// mlp.{gate,up,down}_proj
std::vector<Family::TensorRow> DenseRows();
// mlp.gate and mlp.experts.{E}.{gate,up,down}_proj; or block_sparse_moe.gate and its experts.{E}.{w1,w3,w2}
std::vector<Family::TensorRow> ExpertRows();
std::vector<Family::TensorRow> SparseMoeExpertRows();
// The other form that a layer of any family may have in GGUF files: gate and up of all experts in one tensor.
std::vector<Family::TensorRow> GgufFusedExpertRows();
// mlp.shared_experts.{gate,up,down}_proj
std::vector<Family::TensorRow> SharedExpertRows();
// mlp.shared_expert.{gate,up,down}_proj and mlp.shared_expert_gate (Qwen)
std::vector<Family::TensorRow> GatedSharedExpertRows();

// gated_delta.cc
// Which layers have linear attention and its sizes; a problem for sizes that do not fit together. The other layers have an
// output gate. After ReadTransformer.
void ReadGatedDelta(const Checkpoint& checkpoint, Parameters* in, proto::ModelSpec* spec);
// Embedding, norms and gated attention, without biases, in directories with norms less one.
std::vector<Family::TensorRow> HybridAttentionRows();
// Linear attention, but for beta and alpha.
std::vector<Family::TensorRow> GatedDeltaRows();

std::vector<Family::TensorRow> Joined(std::initializer_list<std::vector<Family::TensorRow>> parts);

}  // namespace onecopy
