// OLMoE: q and k each normalised over all heads together, softmax routing without normalisation of the chosen.
// Source: transformers' OlmoeForCausalLM (arXiv 2409.02060); llama.cpp's architecture olmoe.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

void ReadOlmoe(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(checkpoint, {.rope_theta = 10000, .kv_heads = true}, &in, spec);
  spec->set_qk_norm_over_heads(true);
  if (checkpoint.format == CheckpointFormat::kGguf) {
    ReadGgufExperts({.norm_topk_prob = false}, &in, spec);
    if (!in.Has("expert_feed_forward_length"))
      spec->set_moe_intermediate_dim(in.Count("feed_forward_length", 1, kMaxDim));
  } else {
    spec->set_n_experts(in.Count("num_experts", 1, kMaxExperts));
    spec->set_n_experts_used(in.Count("num_experts_per_tok", 1, kMaxExperts));
    spec->set_moe_intermediate_dim(in.Count("intermediate_size", 1, kMaxDim));
    spec->set_norm_topk_prob(in.FlagOr("norm_topk_prob", false));
    if (in.Has("clip_qkv")) in.Problem("clip_qkv", "is not supported yet: expected null");
    CheckHfBias(checkpoint, "attention_bias", false, &in);
  }
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

}  // namespace

const Family& OlmoeFamily() {
  static const Family family = {"olmoe",
                                {"olmoe"},
                                {"olmoe"},
                                ReadOlmoe,
                                Joined({AttentionRows(), {OutputBiasRow()}, QkNormRows(), ExpertRows()})};
  return family;
}

}  // namespace onecopy
