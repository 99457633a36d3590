// Mixtral: Llama's attention, softmax routing over experts in place of every FFN.
// Source: transformers' MixtralForCausalLM; llama.cpp's architecture llama with expert_count > 0, whose
// converter permutes the rows of q and k so that rope turns neighbouring pairs.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

void ReadMixtral(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadTransformer(checkpoint, {.rope_theta = 1e6f, .window = HfDefaults::Window::kEveryLayer}, &in, spec);
  if (gguf) {
    ReadGgufExperts({}, &in, spec);
    if (!in.Has("expert_feed_forward_length"))
      spec->set_moe_intermediate_dim(in.Count("feed_forward_length", 1, kMaxDim));
  } else {
    spec->set_n_experts(in.Count("num_local_experts", 1, kMaxExperts));
    spec->set_n_experts_used(in.Count("num_experts_per_tok", 1, kMaxExperts));
    spec->set_moe_intermediate_dim(in.Count("intermediate_size", 1, kMaxDim));
    spec->set_norm_topk_prob(true);
    // As GGUF files say it.
    spec->set_routed_scaling_factor(1);
    spec->set_n_group(1);
    spec->set_topk_group(1);
  }
  spec->set_rope_style(gguf ? ModelSpec::PAIRWISE : ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

}  // namespace

const Family& MixtralFamily() {
  static const Family family = {
      "mixtral",
      {"llama"},
      {"mixtral"},
      ReadMixtral,
      Joined({AttentionRows(), {OutputBiasRow(), RopeFactorsRow()}, SparseMoeExpertRows()})};
  return family;
}

}  // namespace onecopy
