// DeepSeek-V2, V3, R1, Kimi-K2 and GLM-4.7-Flash: multi-head latent attention, fine-grained experts beside shared ones,
// some dense layers first. V3 chooses by sigmoid scores with a correction bias; its layers for multi-token prediction are left out.
// Sources: DeepSeek-V2 (arXiv 2405.04434) and V3 (arXiv 2412.19437); names and defaults of transformers' deepseek_v2 and
// deepseek_v3 and of llama.cpp's architecture deepseek2 (gguf-py constants.py, conversion of DeepseekV2Model).
#include <fmt/format.h>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

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

void ReadDeepseekGguf(Parameters* in, ModelSpec* spec) {
  ReadGgufNextn(in, spec);
  spec->set_q_lora_rank(in->CountOr("attention.q_lora_rank", 0, 0, kMaxDim));
  spec->set_kv_lora_rank(in->Count("attention.kv_lora_rank", 1, kMaxDim));
  const bool mla_lengths = in->Has("attention.key_length_mla");
  spec->set_head_dim(
      in->Count(mla_lengths ? "attention.key_length_mla" : "attention.key_length", 1, kMaxDim));
  spec->set_v_head_dim(
      in->Count(mla_lengths ? "attention.value_length_mla" : "attention.value_length", 1, kMaxDim));
  spec->set_qk_rope_head_dim(in->Count("rope.dimension_count", 1, kMaxDim));

  // Files of V2 have no key for the gating.
  ReadGgufExperts({.norm_topk_prob = false, .shared = true, .leading_dense = true}, in, spec);
  if (in->NumberOr("attention.temperature_scale", 0) != 0)
    in->Problem("attention.temperature_scale", "is not supported in this family");
}

// Of the class of V2, or of V3, which Kimi-K2 is too, or of GLM-4.7-Flash.
HfFineGrained DefaultsOf(const Checkpoint& checkpoint) {
  const nlohmann::json& type = checkpoint.metadata.at("model_type");
  if (type == "deepseek_v2") return {.scoring = "softmax", .topk_method = "greedy", .norm_topk_prob = false};
  if (type == "glm4_moe_lite") return {.routed_scaling_factor = 1.8f, .first_k_dense = 1};
  return {};
}

void ReadDeepseekHf(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_q_lora_rank(in->CountOr("q_lora_rank", 0, 1, kMaxDim));
  spec->set_kv_lora_rank(in->Count("kv_lora_rank", 1, kMaxDim));
  const uint32_t nope = in->Count("qk_nope_head_dim", 1, kMaxDim);
  spec->set_qk_rope_head_dim(in->Count("qk_rope_head_dim", 1, kMaxDim));
  spec->set_head_dim(nope + spec->qk_rope_head_dim());
  spec->set_v_head_dim(in->Count("v_head_dim", 1, kMaxDim));
  if (!in->FlagOr("rope_interleave", true)) spec->set_rope_style(ModelSpec::NEOX);

  ReadHfFineGrainedExperts(checkpoint, DefaultsOf(checkpoint), in, spec);
  if (in->FlagOr("attention_bias", false)) in->Problem("attention_bias", "is not supported in this family");
  RequireSilu(in);
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
  CheckGroups(gguf, in, spec);
  in->Check();
}

void ReadDeepseek(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadSizes(checkpoint, &in, spec);
  ReadRope(checkpoint, &in, spec);
  // Pairs lie side by side in both formats.
  spec->set_rope_style(ModelSpec::PAIRWISE);
  gguf ? ReadDeepseekGguf(&in, spec) : ReadDeepseekHf(checkpoint, &in, spec);
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

std::vector<Family::TensorRow> LatentRows() {
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
      {Weight::ROUTER_BIAS, "blk.{L}.exp_probs_b.bias", "model.layers.{L}.mlp.gate.e_score_correction_bias",
       true},
  };
}

}  // namespace

const Family& DeepseekFamily() {
  static const Family family = {"deepseek2",
                                {"deepseek2"},
                                {"deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe_lite"},
                                ReadDeepseek,
                                Joined({LatentRows(), DenseRows(), ExpertRows(), SharedExpertRows()})};
  return family;
}

}  // namespace onecopy
