// Rows of tensors that several families share. Names: llama.cpp's (gguf-py, constants.py) and transformers'.
#include "runtime/model/families/families.h"

namespace onecopy {

using proto::Weight;
using Rows = std::vector<Family::TensorRow>;

Rows AttentionRows() {
  return {
      {Weight::TOKEN_EMBEDDING, "token_embd.weight", "model.embed_tokens.weight"},
      {Weight::LM_HEAD, "output.weight", "lm_head.weight"},
      {Weight::OUTPUT_NORM, "output_norm.weight", "model.norm.weight"},
      {Weight::ATTN_NORM, "blk.{L}.attn_norm.weight", "model.layers.{L}.input_layernorm.weight"},
      {Weight::ATTN_Q, "blk.{L}.attn_q.weight", "model.layers.{L}.self_attn.q_proj.weight"},
      {Weight::ATTN_K, "blk.{L}.attn_k.weight", "model.layers.{L}.self_attn.k_proj.weight"},
      {Weight::ATTN_V, "blk.{L}.attn_v.weight", "model.layers.{L}.self_attn.v_proj.weight"},
      {Weight::ATTN_O, "blk.{L}.attn_output.weight", "model.layers.{L}.self_attn.o_proj.weight"},
      {Weight::ATTN_Q_BIAS, "blk.{L}.attn_q.bias", "model.layers.{L}.self_attn.q_proj.bias", true},
      {Weight::ATTN_K_BIAS, "blk.{L}.attn_k.bias", "model.layers.{L}.self_attn.k_proj.bias", true},
      {Weight::ATTN_V_BIAS, "blk.{L}.attn_v.bias", "model.layers.{L}.self_attn.v_proj.bias", true},
      {Weight::FFN_NORM, "blk.{L}.ffn_norm.weight", "model.layers.{L}.post_attention_layernorm.weight"},
  };
}

Family::TensorRow OutputBiasRow() {
  return {Weight::ATTN_O_BIAS, "blk.{L}.attn_output.bias", "model.layers.{L}.self_attn.o_proj.bias", true};
}

Family::TensorRow RopeFactorsRow() {
  return {Weight::ROPE_FACTORS, "rope_freqs.weight", "", true};
}

Rows QkNormRows() {
  return {{Weight::ATTN_Q_NORM, "blk.{L}.attn_q_norm.weight", "model.layers.{L}.self_attn.q_norm.weight"},
          {Weight::ATTN_K_NORM, "blk.{L}.attn_k_norm.weight", "model.layers.{L}.self_attn.k_norm.weight"}};
}

Rows DenseRows() {
  return {{Weight::DENSE_GATE, "blk.{L}.ffn_gate.weight", "model.layers.{L}.mlp.gate_proj.weight"},
          {Weight::DENSE_UP, "blk.{L}.ffn_up.weight", "model.layers.{L}.mlp.up_proj.weight"},
          {Weight::DENSE_DOWN, "blk.{L}.ffn_down.weight", "model.layers.{L}.mlp.down_proj.weight"}};
}

Rows ExpertRows() {
  return {
      {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight", "model.layers.{L}.mlp.gate.weight"},
      {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight",
       "model.layers.{L}.mlp.experts.{E}.gate_proj.weight"},
      {Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight", "model.layers.{L}.mlp.experts.{E}.up_proj.weight"},
      {Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight",
       "model.layers.{L}.mlp.experts.{E}.down_proj.weight"},
  };
}

Rows SparseMoeExpertRows() {
  return {
      {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight", "model.layers.{L}.block_sparse_moe.gate.weight"},
      {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight",
       "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight"},
      {Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight",
       "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight"},
      {Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight",
       "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight"},
  };
}

// convert_hf_to_gguf.py --fuse-gate-up-exps: of each expert the rows of gate, then those of up; the biases likewise.
Rows GgufFusedExpertRows() {
  constexpr const char *kWeight = "blk.{L}.ffn_gate_up_exps.weight", *kBias = "blk.{L}.ffn_gate_up_exps.bias";
  return {{Weight::EXPERT_GATE, kWeight, "", false, nullptr, 0, 2},
          {Weight::EXPERT_UP, kWeight, "", false, nullptr, 1, 2},
          {Weight::EXPERT_GATE_BIAS, kBias, "", false, nullptr, 0, 2},
          {Weight::EXPERT_UP_BIAS, kBias, "", false, nullptr, 1, 2}};
}

Rows SharedExpertRows() {
  return {
      {Weight::SHARED_GATE, "blk.{L}.ffn_gate_shexp.weight",
       "model.layers.{L}.mlp.shared_experts.gate_proj.weight"},
      {Weight::SHARED_UP, "blk.{L}.ffn_up_shexp.weight",
       "model.layers.{L}.mlp.shared_experts.up_proj.weight"},
      {Weight::SHARED_DOWN, "blk.{L}.ffn_down_shexp.weight",
       "model.layers.{L}.mlp.shared_experts.down_proj.weight"},
  };
}

Rows GatedSharedExpertRows() {
  return {
      {Weight::SHARED_GATE, "blk.{L}.ffn_gate_shexp.weight",
       "model.layers.{L}.mlp.shared_expert.gate_proj.weight"},
      {Weight::SHARED_UP, "blk.{L}.ffn_up_shexp.weight", "model.layers.{L}.mlp.shared_expert.up_proj.weight"},
      {Weight::SHARED_DOWN, "blk.{L}.ffn_down_shexp.weight",
       "model.layers.{L}.mlp.shared_expert.down_proj.weight"},
      {Weight::SHARED_INPUT_GATE, "blk.{L}.ffn_gate_inp_shexp.weight",
       "model.layers.{L}.mlp.shared_expert_gate.weight"}};
}

Rows Joined(std::initializer_list<Rows> parts) {
  Rows all;
  for (const Rows& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace onecopy
