// Qwen3.5, with experts or dense: Qwen3-Next's layers, with projections of their own for the parts of linear attention. The
// directory of the published models is a vision model's, of which this is the text model (text_config.h): its rope over three axes is the
// plain one where all of a token's positions are the same, as in text. Multi-token prediction is left out.
// Source: transformers' Qwen3_5MoeForConditionalGeneration, Qwen3_5MoeForCausalLM and their dense relatives; llama.cpp's
// architectures qwen35moe and qwen35, whose converter puts value heads in the order of ggml's broadcasts.
#include <string>

#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

void ReadExperts(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  if (checkpoint.format == CheckpointFormat::kGguf) {
    ReadGgufExperts({.shared = true}, in, spec);
    if (spec->shared_intermediate_dim() == 0)
      spec->set_shared_intermediate_dim(in->Count("feed_forward_length", 1, kMaxDim));
    return;
  }
  spec->set_n_experts(in->Count("num_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("moe_intermediate_size", 1, kMaxDim));
  spec->set_shared_intermediate_dim(in->Count("shared_expert_intermediate_size", 1, kMaxDim));
  spec->set_norm_topk_prob(in->FlagOr("norm_topk_prob", true));
}

void ReadQwen35(const Checkpoint& checkpoint, ModelSpec* spec) {
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(
      checkpoint,
      {.rope_theta = 10000, .rotary_share = 0.25f, .window = HfDefaults::Window::kSwitchedEveryLayer}, &in,
      spec);
  if (gguf) ReadGgufNextn(&in, spec);
  const auto& name =
      checkpoint.metadata.at(gguf ? "general.architecture" : "model_type").get_ref<const std::string&>();
  if (name.find("moe") != std::string::npos)
    ReadExperts(checkpoint, &in, spec);
  else
    ReadDense(checkpoint, &in, spec);
  ReadGatedDelta(checkpoint, &in, spec);
  spec->set_linear_heads_tiled(gguf);
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

// Published models have the experts of a layer in two tensors, quantised ones an expert's matrices by themselves.
constexpr const char *kGateUp = "model.layers.{L}.mlp.experts.gate_up_proj",
                     *kDown = "model.layers.{L}.mlp.experts.down_proj";

bool IsStacked(const Checkpoint& checkpoint, const ModelSpec&) {
  return checkpoint.Find("model.layers.0.mlp.experts.gate_up_proj") != nullptr;
}
bool IsByExpert(const Checkpoint& checkpoint, const ModelSpec& spec) {
  return !IsStacked(checkpoint, spec);
}

std::vector<Family::TensorRow> Qwen35Rows() {
  std::vector<Family::TensorRow> by_expert = ExpertRows();
  for (Family::TensorRow& row : by_expert)
    if (IsExpertRole(row.role)) row.applies = IsByExpert;
  return Joined(
      {HybridAttentionRows(),
       GatedDeltaRows(),
       {{Weight::LINEAR_BETA, "blk.{L}.ssm_beta.weight", "model.layers.{L}.linear_attn.in_proj_b.weight"},
        {Weight::LINEAR_ALPHA, "blk.{L}.ssm_alpha.weight", "model.layers.{L}.linear_attn.in_proj_a.weight"},
        {Weight::EXPERT_GATE, "", kGateUp, false, IsStacked, 0, 2},
        {Weight::EXPERT_UP, "", kGateUp, false, IsStacked, 1, 2},
        {Weight::EXPERT_DOWN, "", kDown, false, IsStacked}},
       DenseRows(),
       by_expert,
       GatedSharedExpertRows()});
}

}  // namespace

const Family& Qwen35Family() {
  static const Family family = {"qwen35",
                                {"qwen35moe", "qwen35"},
                                {"qwen3_5_moe_text", "qwen3_5_text"},
                                ReadQwen35,
                                Qwen35Rows(),
                                nullptr,
                                {"mtp."}};
  return family;
}

}  // namespace onecopy
