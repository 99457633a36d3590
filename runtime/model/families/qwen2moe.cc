// Qwen1.5-MoE and Qwen2-MoE: biases on q, k and v, softmax routing, and a shared expert behind a gate of its own; some
// layers may be dense. Source: transformers' Qwen2MoeForCausalLM; llama.cpp's architecture qwen2moe.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

void ReadQwen2Moe(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  // Windows alternate here in a way of their own.
  const bool windows = in.FlagOr("use_sliding_window", false);
  if (windows) in.Problem("use_sliding_window", "is not supported in this family");
  ReadTransformer(checkpoint, {.window = HfDefaults::Window::kSwitchedEveryLayer}, &in, spec);
  if (checkpoint.format == CheckpointFormat::kGguf) {
    ReadGgufExperts({.norm_topk_prob = false, .shared = true}, &in, spec);
    // Files without the width of the shared expert have the dense one.
    if (spec->shared_intermediate_dim() == 0)
      spec->set_shared_intermediate_dim(in.Count("feed_forward_length", 1, kMaxDim));
  } else {
    ReadHfQwenExperts(checkpoint, &in, spec);
    spec->set_shared_intermediate_dim(in.Count("shared_expert_intermediate_size", 1, kMaxDim));
    CheckHfBias(checkpoint, "qkv_bias", true, &in);
  }
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

}  // namespace

const Family& Qwen2MoeFamily() {
  static const Family family = {
      "qwen2moe",
      {"qwen2moe"},
      {"qwen2_moe"},
      ReadQwen2Moe,
      Joined({AttentionRows(), DenseRows(), ExpertRows(), GatedSharedExpertRows()})};
  return family;
}

}  // namespace onecopy
