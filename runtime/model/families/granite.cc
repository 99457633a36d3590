// Granite 3, dense and with experts: Llama's attention and factors on embedding, attention, residual stream and logits.
// Source: transformers' GraniteForCausalLM, GraniteMoeForCausalLM and GraniteMoeSharedForCausalLM, whose experts have gate
// and up in one tensor; llama.cpp's architectures granite and granitemoe, whose converter permutes q and k as Llama's.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

// A factor of 1 is left out.
float Factor(const char* key, Parameters* in) {
  const float factor = in->PositiveOr(key, 1);
  return factor == 1 ? 0 : factor;
}

void ReadFactors(bool gguf, Parameters* in, ModelSpec* spec) {
  spec->set_embedding_scale(Factor(gguf ? "embedding_scale" : "embedding_multiplier", in));
  spec->set_residual_scale(Factor(gguf ? "residual_scale" : "residual_multiplier", in));
  // Unlike elsewhere, one that is absent from config.json is 1.
  spec->set_softmax_scale(gguf ? (in->Has("attention.scale") ? in->Positive("attention.scale") : 0)
                               : in->PositiveOr("attention_multiplier", 1));
  const float divisor = Factor(gguf ? "logit_scale" : "logits_scaling", in);
  spec->set_logit_scale(divisor == 0 ? 0 : 1 / divisor);
}

void ReadHfExperts(Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("num_local_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
  spec->set_shared_intermediate_dim(in->CountOr("shared_intermediate_size", 0, 0, kMaxDim));
  spec->set_norm_topk_prob(true);  // a softmax over the chosen
}

void ReadGranite(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadTransformer(checkpoint, {.rope_theta = 10000, .kv_heads = true, .factors = true}, &in, spec);
  ReadFactors(gguf, &in, spec);
  const bool dense = checkpoint.metadata.at(gguf ? "general.architecture" : "model_type") == "granite";
  if (dense) {
    if (in.FlagOr("mlp_bias", false)) in.Problem("mlp_bias", "is not supported in this family");
    ReadDense(checkpoint, &in, spec);
  } else if (gguf) {
    ReadGgufExperts({.shared = true}, &in, spec);
    if (!in.Has("expert_feed_forward_length"))
      spec->set_moe_intermediate_dim(in.Count("feed_forward_length", 1, kMaxDim));
  } else {
    ReadHfExperts(&in, spec);
  }
  CheckHfBias(checkpoint, "attention_bias", false, &in);
  spec->set_rope_style(gguf ? ModelSpec::PAIRWISE : ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> ExpertsOfGranite() {
  constexpr const char* kIn = "model.layers.{L}.block_sparse_moe.input_linear.weight";
  constexpr const char* kSharedIn = "model.layers.{L}.shared_mlp.input_linear.weight";
  return {
      {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight",
       "model.layers.{L}.block_sparse_moe.router.layer.weight"},
      {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight", kIn, false, nullptr, 0, 2},
      {Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight", kIn, false, nullptr, 1, 2},
      {Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight",
       "model.layers.{L}.block_sparse_moe.output_linear.weight"},
      {Weight::SHARED_GATE, "blk.{L}.ffn_gate_shexp.weight", kSharedIn, false, nullptr, 0, 2},
      {Weight::SHARED_UP, "blk.{L}.ffn_up_shexp.weight", kSharedIn, false, nullptr, 1, 2},
      {Weight::SHARED_DOWN, "blk.{L}.ffn_down_shexp.weight",
       "model.layers.{L}.shared_mlp.output_linear.weight"},
  };
}

}  // namespace

const Family& GraniteFamily() {
  static const Family family = {
      "granite",
      {"granite", "granitemoe"},
      {"granite", "granitemoe", "granitemoeshared"},
      ReadGranite,
      Joined({AttentionRows(), {OutputBiasRow(), RopeFactorsRow()}, DenseRows(), ExpertsOfGranite()})};
  return family;
}

}  // namespace onecopy
