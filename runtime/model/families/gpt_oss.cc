// gpt-oss: grouped-query attention with sinks, every other layer over a sliding window; experts in MXFP4 with biases and a
// clamped SwiGLU; the chosen experts' logits are softmaxed. Files of GGUF only: a Hugging Face directory has gate and up
// interleaved in one MXFP4 tensor of blocks and one of scales.
// Sources: the gpt-oss model card (arXiv 2508.10925) and transformers' gpt_oss; names of llama.cpp's architecture gpt-oss
// (gguf-py constants.py, conversion of GptOssModel).
#include <fmt/format.h>

#include <utility>

#include "runtime/base/error.h"
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

// Files carry neither; both are the same in all published models.
constexpr float kSwigluLimit = 7;
constexpr uint32_t kWindowPeriod = 2;  // the first layer of each pair has the window

void ReadHeads(Parameters* in, ModelSpec* spec) {
  spec->set_head_dim(in->Count("attention.key_length", 1, kMaxDim));
  if (in->CountOr("attention.value_length", spec->head_dim(), 1, kMaxDim) != spec->head_dim())
    in->Problem("attention.value_length", "another length than that of keys is not supported yet");
  spec->set_rope_dims(in->CountOr("rope.dimension_count", spec->head_dim(), 1, kMaxDim));
  spec->set_rope_style(ModelSpec::NEOX);
  spec->set_sliding_window(in->Count("attention.sliding_window", 1, kMaxContext));
  if (in->Has("attention.sliding_window_pattern"))
    in->Problem("attention.sliding_window_pattern",
                "another pattern than every other layer is not supported yet");
  for (uint32_t layer = 0; layer < spec->n_layers(); layer += kWindowPeriod) spec->add_sliding_layers(layer);
}

void ReadExperts(Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("expert_count", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("expert_used_count", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("expert_feed_forward_length", 1, kMaxDim));
  // A softmax over the chosen logits is the softmax over all, divided by the sum of the chosen.
  spec->set_norm_topk_prob(true);
  spec->set_activation(ModelSpec::CLAMPED_SWIGLU);
  spec->set_swiglu_limit(kSwigluLimit);
}

void ReadParameters(const Checkpoint& checkpoint, ModelSpec* spec) {
  if (checkpoint.format == CheckpointFormat::kHuggingFace) {
    Fail(ErrorCode::kBadInput,
         "{}/config.json: model_type: gpt_oss directories, with interleaved MXFP4 experts "
         "(gate_up_proj_blocks), are "
         "not supported yet: use a GGUF file of the model",
         checkpoint.path);
  }
  Parameters in = OpenParameters(checkpoint);
  ReadSizes(checkpoint, &in, spec);
  ReadRope(checkpoint, &in, spec);
  // As the published config.json has it; GGUF has no key for it.
  if (spec->rope_scaling().kind() == proto::RopeScaling::YARN)
    spec->mutable_rope_scaling()->set_truncate(false);
  ReadHeads(&in, spec);
  ReadExperts(&in, spec);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> Rows() {
  std::vector<Family::TensorRow> rows;
  for (const Family::TensorRow& row : AttentionRows()) {
    if (row.role == Weight::FFN_NORM) continue;  // has another name here
    rows.push_back(row);
    rows.back().hf = "";
    rows.back().optional = false;  // q, k and v all have a bias
  }
  const std::pair<Weight::Role, const char*> others[] = {
      {Weight::FFN_NORM, "blk.{L}.post_attention_norm.weight"},
      {Weight::ATTN_O_BIAS, "blk.{L}.attn_output.bias"},
      {Weight::ATTN_SINKS, "blk.{L}.attn_sinks.weight"},
      {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight"},
      {Weight::ROUTER_LOGIT_BIAS, "blk.{L}.ffn_gate_inp.bias"},
      {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight"},
      {Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight"},
      {Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight"},
      {Weight::EXPERT_GATE_BIAS, "blk.{L}.ffn_gate_exps.bias"},
      {Weight::EXPERT_UP_BIAS, "blk.{L}.ffn_up_exps.bias"},
      {Weight::EXPERT_DOWN_BIAS, "blk.{L}.ffn_down_exps.bias"},
  };
  for (const auto& [role, name] : others) rows.push_back({role, name, ""});
  return rows;
}

}  // namespace

const Family& GptOssFamily() {
  static const Family family = {"gpt-oss", {"gpt-oss"}, {"gpt_oss"}, ReadParameters, Rows()};
  return family;
}

}  // namespace onecopy
