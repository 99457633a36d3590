// DeepSeek-V2, V3, R1 and Kimi-K2: multi-head latent attention, fine-grained experts beside shared ones, some dense
// layers first. V3 chooses by sigmoid scores with a correction bias; its layers for multi-token prediction are left out.
// Sources: DeepSeek-V2 (arXiv 2405.04434) and V3 (arXiv 2412.19437); names and defaults of transformers' deepseek_v2 and
// deepseek_v3 and of llama.cpp's architecture deepseek2 (gguf-py constants.py, conversion of DeepseekV2Model).
#include <fmt/format.h>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

constexpr uint32_t kGgufSoftmax = 1, kGgufSigmoid = 2;

// Newer files have the lengths of the decompressed heads beside those of the latent ones, and kv_b in two halves.
bool HasSplitKvB(const Checkpoint& checkpoint, const ModelSpec&) {
  return checkpoint.format == CheckpointFormat::kGguf &&
         (checkpoint.metadata.contains("deepseek2.attention.key_length_mla") ||
          checkpoint.Find("blk.0.attn_k_b.weight") != nullptr);
}
bool HasWholeKvB(const Checkpoint& checkpoint, const ModelSpec& spec) {
  return !HasSplitKvB(checkpoint, spec);
}
bool HasQLora(const Checkpoint&, const ModelSpec& spec) {
  return spec.q_lora_rank() > 0;
}
bool HasNoQLora(const Checkpoint&, const ModelSpec& spec) {
  return spec.q_lora_rank() == 0;
}
bool HasSharedExperts(const Checkpoint&, const ModelSpec& spec) {
  return spec.shared_intermediate_dim() > 0;
}

void SetDenseLayers(uint32_t leading, ModelSpec* spec) {
  for (uint32_t layer = 0; layer < leading; ++layer) spec->add_dense_layers(layer);
}

// V2 takes the best expert of a group as the group's score, V3 the sum of the best two, with the bias in it.
void SetGroups(uint32_t n_group, uint32_t topk_group, ModelSpec* spec) {
  spec->set_n_group(n_group);
  spec->set_topk_group(topk_group);
  spec->set_group_score(spec->gating() == ModelSpec::SIGMOID ? ModelSpec::GROUP_TOP2_SUM
                                                             : ModelSpec::GROUP_MAX);
}

void ReadGguf(Parameters* in, ModelSpec* spec) {
  const uint32_t nextn = in->CountOr("nextn_predict_layers", 0, 0, spec->n_layers() - 1);
  spec->set_n_nextn_layers(nextn);
  spec->set_n_layers(spec->n_layers() - nextn);

  spec->set_q_lora_rank(in->CountOr("attention.q_lora_rank", 0, 0, kMaxDim));
  spec->set_kv_lora_rank(in->Count("attention.kv_lora_rank", 1, kMaxDim));
  const bool mla_lengths = in->Has("attention.key_length_mla");
  spec->set_head_dim(
      in->Count(mla_lengths ? "attention.key_length_mla" : "attention.key_length", 1, kMaxDim));
  spec->set_v_head_dim(
      in->Count(mla_lengths ? "attention.value_length_mla" : "attention.value_length", 1, kMaxDim));
  spec->set_qk_rope_head_dim(in->Count("rope.dimension_count", 1, kMaxDim));

  SetDenseLayers(in->CountOr("leading_dense_block_count", 0, 0, spec->n_layers()), spec);
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("feed_forward_length", 1, kMaxDim));
  spec->set_n_experts(in->Count("expert_count", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("expert_used_count", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("expert_feed_forward_length", 1, kMaxDim));
  spec->set_shared_intermediate_dim(
      in->CountOr("expert_shared_count", 0, 0, kMaxDim / spec->moe_intermediate_dim()) *
      spec->moe_intermediate_dim());
  spec->set_norm_topk_prob(in->FlagOr("expert_weights_norm", false));
  spec->set_routed_scaling_factor(in->PositiveOr("expert_weights_scale", 1));
  // Files of V2 have no such key.
  const uint32_t gating = in->CountOr("expert_gating_func", kGgufSoftmax, kGgufSoftmax, kGgufSigmoid);
  spec->set_gating(gating == kGgufSigmoid ? ModelSpec::SIGMOID : ModelSpec::SOFTMAX);
  SetGroups(in->CountOr("expert_group_count", 1, 1, kMaxExperts),
            in->CountOr("expert_group_used_count", 1, 1, kMaxExperts), spec);
  if (in->NumberOr("attention.temperature_scale", 0) != 0)
    in->Problem("attention.temperature_scale", "is not supported in this family");
}

// What transformers takes where the key is absent: the class of V2, or of V3, which Kimi-K2 is too.
struct Defaults {
  const char* scoring;
  const char* topk_method;
  bool norm_topk_prob;
};

void ReadHfRouting(const Defaults& defaults, Parameters* in, ModelSpec* spec) {
  const std::string scoring = in->TextOr("scoring_func", defaults.scoring);
  if (scoring != "softmax" && scoring != "sigmoid") {
    in->Problem("scoring_func", fmt::format("expected softmax or sigmoid, found {}", Printable(scoring)));
  }
  spec->set_gating(scoring == "sigmoid" ? ModelSpec::SIGMOID : ModelSpec::SOFTMAX);
  spec->set_norm_topk_prob(in->FlagOr("norm_topk_prob", defaults.norm_topk_prob));
  spec->set_routed_scaling_factor(in->PositiveOr("routed_scaling_factor", 1));

  const std::string method = in->TextOr("topk_method", defaults.topk_method);
  const bool grouped = method == "group_limited_greedy" || method == "noaux_tc";
  if (!grouped && method != "greedy") {
    in->Problem("topk_method", fmt::format("expected greedy, group_limited_greedy or noaux_tc, found {}",
                                           Printable(method)));
  }
  SetGroups(grouped ? in->CountOr("n_group", 1, 1, kMaxExperts) : 1,
            grouped ? in->CountOr("topk_group", 1, 1, kMaxExperts) : 1, spec);
}

void ReadHf(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_n_nextn_layers(in->CountOr("num_nextn_predict_layers", 0, 0, kMaxLayers));
  spec->set_q_lora_rank(in->CountOr("q_lora_rank", 0, 1, kMaxDim));
  spec->set_kv_lora_rank(in->Count("kv_lora_rank", 1, kMaxDim));
  const uint32_t nope = in->Count("qk_nope_head_dim", 1, kMaxDim);
  spec->set_qk_rope_head_dim(in->Count("qk_rope_head_dim", 1, kMaxDim));
  spec->set_head_dim(nope + spec->qk_rope_head_dim());
  spec->set_v_head_dim(in->Count("v_head_dim", 1, kMaxDim));
  if (!in->FlagOr("rope_interleave", true)) spec->set_rope_style(ModelSpec::NEOX);

  SetDenseLayers(in->CountOr("first_k_dense_replace", 0, 0, spec->n_layers()), spec);
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
  spec->set_n_experts(in->Count("n_routed_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("moe_intermediate_size", 1, kMaxDim));
  spec->set_shared_intermediate_dim(
      in->CountOr("n_shared_experts", 0, 0, kMaxDim / spec->moe_intermediate_dim()) *
      spec->moe_intermediate_dim());
  const bool v2 = checkpoint.metadata.at("model_type") == "deepseek_v2";
  ReadHfRouting(v2 ? Defaults{"softmax", "greedy", false} : Defaults{"sigmoid", "noaux_tc", true}, in, spec);

  if (in->CountOr("moe_layer_freq", 1, 1, kMaxLayers) != 1)
    in->Problem("moe_layer_freq", "only 1 is supported");
  if (in->FlagOr("attention_bias", false)) in->Problem("attention_bias", "is not supported in this family");
  const std::string activation = in->TextOr("hidden_act", "silu");
  if (activation != "silu")
    in->Problem("hidden_act", fmt::format("expected silu, found {}", Printable(activation)));
  RefuseHfQuantization(checkpoint, in);
}

// What the shapes of the weights are computed from must not leave 32 bits, and must not contradict itself.
void CheckMla(bool gguf, Parameters* in, const ModelSpec& spec) {
  const uint64_t heads = spec.n_heads();
  const char* heads_key = gguf ? "attention.head_count" : "num_attention_heads";
  for (const uint64_t width :
       {uint64_t{spec.kv_lora_rank()}, uint64_t{spec.head_dim()} + spec.v_head_dim()}) {
    if (heads * width > kMaxDim)
      in->Problem(heads_key, fmt::format("{} heads of {} elements are above {}", heads, width, kMaxDim));
  }
  if (spec.qk_rope_head_dim() >= spec.head_dim() || spec.qk_rope_head_dim() % 2 != 0) {
    in->Problem(gguf ? "rope.dimension_count" : "qk_rope_head_dim",
                fmt::format("expected an even number below the {} elements of a head, found {}",
                            spec.head_dim(), spec.qk_rope_head_dim()));
  }
  if (spec.topk_group() > spec.n_group() || spec.n_experts() % spec.n_group() != 0) {
    in->Problem(gguf ? "expert_group_count" : "n_group",
                fmt::format("{} experts in {} groups, of which {}, do not fit together", spec.n_experts(),
                            spec.n_group(), spec.topk_group()));
  }
  in->Check();
}

void ReadParameters(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadSizes(checkpoint, &in, spec);
  ReadRope(checkpoint, RopeSupport::kYarn, &in, spec);
  // Pairs lie side by side in both formats.
  spec->set_rope_style(ModelSpec::PAIRWISE);
  gguf ? ReadGguf(&in, spec) : ReadHf(checkpoint, &in, spec);
  in.Check();  // before differences of sizes are taken
  // GGUF files carry mscale_all_dim only: the published models have the same mscale, and then the factor is 1.
  if (gguf && spec->rope_scaling().kind() == proto::RopeScaling::YARN)
    spec->mutable_rope_scaling()->set_attention_factor(1);
  spec->set_n_kv_heads(1);  // the latent; files say 1, or as many as query heads
  spec->set_rope_dims(spec->qk_rope_head_dim());
  CheckMla(gguf, &in, *spec);
  spec->set_qk_nope_head_dim(spec->head_dim() - spec->qk_rope_head_dim());
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> Rows() {
  return {
      {Weight::TOKEN_EMBEDDING, "token_embd.weight", "model.embed_tokens.weight"},
      {Weight::LM_HEAD, "output.weight", "lm_head.weight"},
      {Weight::OUTPUT_NORM, "output_norm.weight", "model.norm.weight"},
      {Weight::ATTN_NORM, "blk.{L}.attn_norm.weight", "model.layers.{L}.input_layernorm.weight"},
      {Weight::ATTN_Q, "blk.{L}.attn_q.weight", "model.layers.{L}.self_attn.q_proj.weight", false,
       HasNoQLora},
      {Weight::ATTN_Q_A, "blk.{L}.attn_q_a.weight", "model.layers.{L}.self_attn.q_a_proj.weight", false,
       HasQLora},
      {Weight::ATTN_Q_A_NORM, "blk.{L}.attn_q_a_norm.weight",
       "model.layers.{L}.self_attn.q_a_layernorm.weight", false, HasQLora},
      {Weight::ATTN_Q_B, "blk.{L}.attn_q_b.weight", "model.layers.{L}.self_attn.q_b_proj.weight", false,
       HasQLora},
      {Weight::ATTN_KV_A, "blk.{L}.attn_kv_a_mqa.weight",
       "model.layers.{L}.self_attn.kv_a_proj_with_mqa.weight"},
      {Weight::ATTN_KV_A_NORM, "blk.{L}.attn_kv_a_norm.weight",
       "model.layers.{L}.self_attn.kv_a_layernorm.weight"},
      {Weight::ATTN_KV_B, "blk.{L}.attn_kv_b.weight", "model.layers.{L}.self_attn.kv_b_proj.weight", false,
       HasWholeKvB},
      {Weight::ATTN_K_B, "blk.{L}.attn_k_b.weight", "", false, HasSplitKvB},
      {Weight::ATTN_V_B, "blk.{L}.attn_v_b.weight", "", false, HasSplitKvB},
      {Weight::ATTN_O, "blk.{L}.attn_output.weight", "model.layers.{L}.self_attn.o_proj.weight"},
      {Weight::FFN_NORM, "blk.{L}.ffn_norm.weight", "model.layers.{L}.post_attention_layernorm.weight"},
      {Weight::DENSE_GATE, "blk.{L}.ffn_gate.weight", "model.layers.{L}.mlp.gate_proj.weight"},
      {Weight::DENSE_UP, "blk.{L}.ffn_up.weight", "model.layers.{L}.mlp.up_proj.weight"},
      {Weight::DENSE_DOWN, "blk.{L}.ffn_down.weight", "model.layers.{L}.mlp.down_proj.weight"},
      {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight", "model.layers.{L}.mlp.gate.weight"},
      {Weight::ROUTER_BIAS, "blk.{L}.exp_probs_b.bias", "model.layers.{L}.mlp.gate.e_score_correction_bias",
       true},
      {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight",
       "model.layers.{L}.mlp.experts.{E}.gate_proj.weight"},
      {Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight", "model.layers.{L}.mlp.experts.{E}.up_proj.weight"},
      {Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight",
       "model.layers.{L}.mlp.experts.{E}.down_proj.weight"},
      {Weight::SHARED_GATE, "blk.{L}.ffn_gate_shexp.weight",
       "model.layers.{L}.mlp.shared_experts.gate_proj.weight", false, HasSharedExperts},
      {Weight::SHARED_UP, "blk.{L}.ffn_up_shexp.weight", "model.layers.{L}.mlp.shared_experts.up_proj.weight",
       false, HasSharedExperts},
      {Weight::SHARED_DOWN, "blk.{L}.ffn_down_shexp.weight",
       "model.layers.{L}.mlp.shared_experts.down_proj.weight", false, HasSharedExperts},
  };
}

}  // namespace

const Family& DeepseekFamily() {
  static const Family family = {
      "deepseek2", {"deepseek2"}, {"deepseek_v2", "deepseek_v3", "kimi_k2"}, ReadParameters, Rows()};
  return family;
}

}  // namespace onecopy
