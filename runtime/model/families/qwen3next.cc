// Qwen3-Next: three layers of linear attention by the gated delta rule, then one of gated attention; softmax routing beside
// a shared expert behind a gate of its own; the layers for multi-token prediction are left out.
// Source: transformers' Qwen3NextForCausalLM; llama.cpp's architecture qwen3next.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

void ReadQwen3Next(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(
      checkpoint,
      {.rope_theta = 10000, .rotary_share = 0.25f, .window = HfDefaults::Window::kSwitchedEveryLayer}, &in,
      spec);
  if (checkpoint.format == CheckpointFormat::kGguf) {
    ReadGgufExperts({.shared = true}, &in, spec);
    if (spec->shared_intermediate_dim() == 0)
      spec->set_shared_intermediate_dim(in.Count("feed_forward_length", 1, kMaxDim));
  } else {
    ReadHfQwenExperts(checkpoint, &in, spec);
    spec->set_norm_topk_prob(in.FlagOr("norm_topk_prob", true));
    spec->set_shared_intermediate_dim(in.Count("shared_expert_intermediate_size", 1, kMaxDim));
  }
  ReadGatedDelta(checkpoint, &in, spec);
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> Qwen3NextRows() {
  std::vector<Family::TensorRow> dense = DenseRows();
  for (Family::TensorRow& row : dense) row.gguf = "";  // those files have no dense layers
  return Joined({HybridAttentionRows(),
                 GatedDeltaRows(),
                 {{Weight::LINEAR_BETA_ALPHA, "blk.{L}.ssm_ba.weight",
                   "model.layers.{L}.linear_attn.in_proj_ba.weight"}},
                 dense,
                 ExpertRows(),
                 GatedSharedExpertRows()});
}

}  // namespace

const Family& Qwen3NextFamily() {
  static const Family family = {"qwen3next",     {"qwen3next"}, {"qwen3_next"}, ReadQwen3Next,
                                Qwen3NextRows(), nullptr,       {"mtp."}};
  return family;
}

}  // namespace onecopy
