// ERNIE-4.5-MoE (text): rope turns neighbouring pairs, softmax routing by scores that a bias corrects, shared experts,
// dense layers first. Source: transformers' Ernie4_5_MoeForCausalLM; llama.cpp's architecture ernie4_5-moe.
#include <fmt/format.h>

#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

// Layers outside first … last, and those that the interval leaves out.
void ReadHfDenseLayers(Parameters* in, ModelSpec* spec) {
  const uint32_t first = in->CountOr("moe_layer_start_index", 1, 0, kMaxLayers);
  const double last = in->NumberOr("moe_layer_end_index", -1);
  const uint32_t interval = in->CountOr("moe_layer_interval", 1, 1, kMaxLayers);
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if (layer < first || (last >= 0 && layer > last) || (layer + 1) % interval != 0)
      spec->add_dense_layers(layer);
  }
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
}

void ReadErnie45MoeHf(Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("moe_num_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("moe_k", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("moe_intermediate_size", 1, kMaxDim));
  spec->set_shared_intermediate_dim(
      in->CountOr("moe_num_shared_experts", 2, 0, kMaxDim / spec->moe_intermediate_dim()) *
      spec->moe_intermediate_dim());
  spec->set_norm_topk_prob(true);
  ReadHfDenseLayers(in, spec);
  if (in->FlagOr("use_bias", false)) in->Problem("use_bias", "is not supported yet");
}

void ReadErnie45Moe(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadTransformer(checkpoint, {.rope_theta = 500000}, &in, spec);
  if (gguf)
    ReadGgufExperts({.shared = true, .leading_dense = true}, &in, spec);
  else
    ReadErnie45MoeHf(&in, spec);
  spec->set_rope_style(ModelSpec::PAIRWISE);
  CheckTransformer(&in, *spec);
}

}  // namespace

const Family& Ernie45MoeFamily() {
  static const Family family = {
      "ernie4_5-moe",
      {"ernie4_5-moe"},
      {"ernie4_5_moe"},
      ReadErnie45Moe,
      Joined({AttentionRows(),
              DenseRows(),
              ExpertRows(),
              SharedExpertRows(),
              {{Weight::ROUTER_BIAS, "blk.{L}.exp_probs_b.bias",
                "model.layers.{L}.mlp.moe_statics.e_score_correction_bias", true}}})};
  return family;
}

}  // namespace onecopy
