// GLM-4.5, 4.6 and 4.7: half of each head is rotated, norms on q and k per head in the large models, sigmoid routing with
// a correction bias beside a shared expert, dense layers first; the layers for multi-token prediction are left out.
// Source: transformers' Glm4MoeForCausalLM; llama.cpp's architecture glm4moe.
#include <string_view>

#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

void ReadGlm4Moe(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadTransformer(checkpoint, {.rotary_share = 0.5f}, &in, spec);
  if (gguf) {
    ReadGgufNextn(&in, spec);
    ReadGgufExperts({.gating = ModelSpec::SIGMOID, .shared = true, .leading_dense = true}, &in, spec);
  } else {
    ReadHfFineGrainedExperts(checkpoint, {.first_k_dense = 1}, &in, spec);
    CheckHfBias(checkpoint, "attention_bias", false, &in);
    const bool has_norm = checkpoint.Find("model.layers.0.self_attn.q_norm.weight") != nullptr;
    if (in.FlagOr("use_qk_norm", false) != has_norm)
      in.Problem("use_qk_norm", has_norm ? "is false, but model.layers.0.self_attn.q_norm.weight is there"
                                         : "is true, but model.layers.0.self_attn.q_norm.weight is missing");
  }
  spec->set_rope_style(ModelSpec::NEOX);
  CheckGroups(gguf, &in, *spec);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> Glm4MoeRows() {
  std::vector<Family::TensorRow> norms = QkNormRows();
  for (Family::TensorRow& row : norms) row.optional = true;
  std::vector<Family::TensorRow> rows =
      Joined({AttentionRows(), norms, DenseRows(), ExpertRows(), SharedExpertRows()});
  for (Family::TensorRow& row : rows)
    if (row.role == Weight::FFN_NORM) row.gguf = "blk.{L}.post_attention_norm.weight";
  rows.push_back({Weight::ROUTER_BIAS, "blk.{L}.exp_probs_b.bias",
                  "model.layers.{L}.mlp.gate.e_score_correction_bias", true});
  return rows;
}

}  // namespace

const Family& Glm4MoeFamily() {
  static const Family family = {"glm4moe", {"glm4moe"}, {"glm4_moe"}, ReadGlm4Moe, Glm4MoeRows()};
  return family;
}

}  // namespace onecopy
