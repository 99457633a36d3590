// Qwen3-MoE: grouped-query attention with norms on q and k per head, softmax routing, no shared expert.
// Source: transformers' Qwen3MoeForCausalLM and its config; llama.cpp's architecture qwen3moe.
#include <fmt/format.h>

#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

void ReadGguf(Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("expert_count", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("expert_used_count", 1, kMaxExperts));
  // Where the key is absent, llama.cpp divides the dense width.
  spec->set_moe_intermediate_dim(in->Has("expert_feed_forward_length")
                                     ? in->Count("expert_feed_forward_length", 1, kMaxDim)
                                     : in->Count("feed_forward_length", 1, kMaxDim) / spec->n_experts_used());
  if (spec->moe_intermediate_dim() == 0)
    in->Problem("feed_forward_length", "is below the number of experts used");
  spec->set_norm_topk_prob(in->FlagOr("expert_weights_norm", true));
}

// Layers with a dense FFN: those listed, and those that decoder_sparse_step leaves out.
void ReadDenseLayers(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  std::vector<bool> dense(spec->n_layers(), spec->n_experts() == 0);
  const uint32_t step = in->CountOr("decoder_sparse_step", 1, 1, kMaxLayers);
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if ((layer + 1) % step != 0) dense[layer] = true;
  }
  if (in->Has("mlp_only_layers")) {
    const nlohmann::json& listed = checkpoint.metadata.at("mlp_only_layers");
    if (!listed.is_array()) in->Problem("mlp_only_layers", "expected a list of layers");
    for (const nlohmann::json& layer : listed.is_array() ? listed : nlohmann::json::array()) {
      if (!layer.is_number_integer() || layer < 0 || layer >= spec->n_layers()) {
        return in->Problem("mlp_only_layers",
                           fmt::format("expected layers from 0 to {}", spec->n_layers() - 1));
      }
      dense[layer.get<uint32_t>()] = true;
    }
  }
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if (dense[layer]) spec->add_dense_layers(layer);
  }
}

void ReadHf(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("num_experts", 0, kMaxExperts));
  if (spec->n_experts() > 0) {
    spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
    spec->set_moe_intermediate_dim(in->Count("moe_intermediate_size", 1, kMaxDim));
  }
  spec->set_norm_topk_prob(in->FlagOr("norm_topk_prob", false));
  ReadDenseLayers(checkpoint, in, spec);
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));

  const bool has_bias = checkpoint.Find("model.layers.0.self_attn.q_proj.bias") != nullptr;
  if (in->FlagOr("attention_bias", false) != has_bias) {
    in->Problem("attention_bias", fmt::format("is {}, but model.layers.0.self_attn.q_proj.bias is {}",
                                              has_bias ? "false" : "true", has_bias ? "there" : "missing"));
  }
}

void ReadParameters(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(checkpoint, &in, spec);
  checkpoint.format == CheckpointFormat::kGguf ? ReadGguf(&in, spec) : ReadHf(checkpoint, &in, spec);
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> Rows() {
  std::vector<Family::TensorRow> rows = AttentionRows();
  for (const Family::TensorRow& row : std::initializer_list<Family::TensorRow>{
           {Weight::ATTN_Q_NORM, "blk.{L}.attn_q_norm.weight", "model.layers.{L}.self_attn.q_norm.weight"},
           {Weight::ATTN_K_NORM, "blk.{L}.attn_k_norm.weight", "model.layers.{L}.self_attn.k_norm.weight"},
           {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight", "model.layers.{L}.mlp.gate.weight"},
           {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight",
            "model.layers.{L}.mlp.experts.{E}.gate_proj.weight"},
           {Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight",
            "model.layers.{L}.mlp.experts.{E}.up_proj.weight"},
           {Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight",
            "model.layers.{L}.mlp.experts.{E}.down_proj.weight"},
           {Weight::DENSE_GATE, "", "model.layers.{L}.mlp.gate_proj.weight"},
           {Weight::DENSE_UP, "", "model.layers.{L}.mlp.up_proj.weight"},
           {Weight::DENSE_DOWN, "", "model.layers.{L}.mlp.down_proj.weight"},
       }) {
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

const Family& Qwen3MoeFamily() {
  static const Family family = {"qwen3moe", {"qwen3moe"}, {"qwen3_moe"}, ReadParameters, Rows()};
  return family;
}

}  // namespace onecopy
