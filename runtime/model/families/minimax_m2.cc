// MiniMax-M2: q and k each normalised over all heads together, half of each head rotated, sigmoid routing with a
// correction bias and no shared expert. Source: transformers' MiniMaxM2ForCausalLM; llama.cpp's architecture minimax-m2.
#include <fmt/format.h>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

void ReadMiniMaxM2Hf(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("num_local_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
  spec->set_norm_topk_prob(true);
  spec->set_gating(ModelSpec::SIGMOID);
  spec->set_n_nextn_layers(in->FlagOr("use_mtp", false) ? in->CountOr("num_mtp_modules", 0, 0, kMaxLayers)
                                                        : 0);
  // Published files say it by the number of dimensions.
  if (in->Has("rotary_dim")) spec->set_rope_dims(in->Count("rotary_dim", 2, kMaxDim));
  // What the class does not look at, since it has one value in all published models.
  if (in->TextOr("scoring_func", "sigmoid") != "sigmoid")
    in->Problem("scoring_func",
                fmt::format("expected sigmoid, found {}", Printable(in->TextOr("scoring_func", ""))));
  if (in->TextOr("qk_norm_type", "per_layer") != "per_layer")
    in->Problem("qk_norm_type",
                fmt::format("expected per_layer, found {}", Printable(in->TextOr("qk_norm_type", ""))));
  if (!in->FlagOr("use_qk_norm", true)) in->Problem("use_qk_norm", "expected true, found false");
  if (in->CountOr("shared_intermediate_size", 0, 0, kMaxDim) != 0)
    in->Problem("shared_intermediate_size", "is not supported in this family");
  if (in->Has("attn_type_list")) {
    for (const nlohmann::json& kind : checkpoint.metadata.at("attn_type_list")) {
      if (kind != 1)
        return in->Problem("attn_type_list", "layers without full attention are not supported yet");
    }
  }
}

void ReadMiniMaxM2(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(checkpoint, {.rope_theta = 5e6f}, &in, spec);
  if (checkpoint.format == CheckpointFormat::kGguf)
    ReadGgufExperts({.gating = ModelSpec::SIGMOID}, &in, spec);
  else
    ReadMiniMaxM2Hf(checkpoint, &in, spec);
  spec->set_qk_norm_over_heads(true);
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

}  // namespace

const Family& MiniMaxM2Family() {
  static const Family family = {"minimax-m2",
                                {"minimax-m2"},
                                {"minimax_m2"},
                                ReadMiniMaxM2,
                                Joined({AttentionRows(),
                                        QkNormRows(),
                                        SparseMoeExpertRows(),
                                        {{Weight::ROUTER_BIAS, "blk.{L}.exp_probs_b.bias",
                                          "model.layers.{L}.block_sparse_moe.e_score_correction_bias"}}})};
  return family;
}

}  // namespace onecopy
