// ModelSpecs without files, for plan tests: shapes of published models, and a small one.
#pragma once

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "kernels/kernels.h"
#include "proto/model.pb.h"

namespace onecopy::test {

class SpecBuilder {
 public:
  explicit SpecBuilder(kernels::WeightType type) : type_(type) {}

  void Matrix(proto::Weight::Role role, uint32_t layer, uint64_t rows, uint64_t cols, uint32_t experts = 0,
              kernels::WeightType type = kernels::WeightType::kCount) {
    Add(role, layer, rows, cols, experts, type == kernels::WeightType::kCount ? type_ : type);
  }
  // experts: a vector each.
  void Vector(proto::Weight::Role role, uint32_t layer, uint64_t n, uint32_t experts = 0) {
    Add(role, layer, 1, n, experts, kernels::WeightType::kF32);
  }
  proto::ModelSpec spec;

 private:
  void Add(proto::Weight::Role role, uint32_t layer, uint64_t rows, uint64_t cols, uint32_t experts,
           kernels::WeightType type) {
    proto::Weight* w = spec.add_weights();
    w->set_role(role);
    w->set_layer(layer);
    w->set_rows(rows);
    w->set_cols(cols);
    w->set_n_experts(experts);
    w->set_type(static_cast<uint32_t>(type));
    w->set_name(proto::Weight::Role_Name(role) + "." + std::to_string(layer));
    w->set_offset(offset_);
    const auto& info = kernels::Info(type);
    offset_ += rows * kernels::RowBytes(info, cols) * std::max(1u, experts);
  }
  const kernels::WeightType type_;
  uint64_t offset_ = 0;
};

// What gpt-oss has beside the weights of other models.
inline void AddGptOssVectors(SpecBuilder* b, uint32_t layer) {
  using proto::Weight;
  const auto& s = b->spec;
  const uint32_t head_dim = s.head_dim(), inter = s.moe_intermediate_dim(), experts = s.n_experts();
  b->Vector(Weight::ATTN_Q_BIAS, layer, uint64_t{s.n_heads()} * head_dim);
  b->Vector(Weight::ATTN_K_BIAS, layer, uint64_t{s.n_kv_heads()} * head_dim);
  b->Vector(Weight::ATTN_V_BIAS, layer, uint64_t{s.n_kv_heads()} * head_dim);
  b->Vector(Weight::ATTN_O_BIAS, layer, s.hidden_dim());
  b->Vector(Weight::ATTN_SINKS, layer, s.n_heads());
  b->Vector(Weight::ROUTER_LOGIT_BIAS, layer, experts);
  b->Vector(Weight::EXPERT_GATE_BIAS, layer, inter, experts);
  b->Vector(Weight::EXPERT_UP_BIAS, layer, inter, experts);
  b->Vector(Weight::EXPERT_DOWN_BIAS, layer, s.hidden_dim(), experts);
}

// `name` of model-shapes.json (transformers' parameter names); matrices of `type`, router F32. Latent attention has
// kv_b in one piece.
inline proto::ModelSpec Shapes(const std::string& file, const std::string& name, kernels::WeightType type) {
  using proto::Weight;
  const auto shape = nlohmann::json::parse(std::ifstream(file)).at(name);
  const auto get = [&](const char* key, uint32_t otherwise = 0) { return shape.value(key, otherwise); };
  const uint32_t hidden = get("hidden_size"), layers = get("num_hidden_layers"),
                 heads = get("num_attention_heads"), kv_heads = get("num_key_value_heads"),
                 vocab = get("vocab_size"),
                 experts = std::max({get("num_experts"), get("num_local_experts"), get("n_routed_experts")}),
                 inter = get("moe_intermediate_size", get("intermediate_size")),
                 dense = get("first_k_dense_replace"), head_dim = get("head_dim", 128);
  SpecBuilder b(type);
  b.spec.set_hidden_dim(hidden);
  b.spec.set_n_layers(layers);
  b.spec.set_n_heads(heads);
  b.spec.set_n_kv_heads(kv_heads);
  b.spec.set_head_dim(head_dim);
  b.spec.set_n_experts(experts);
  b.spec.set_n_experts_used(get("num_experts_per_tok"));
  b.spec.set_moe_intermediate_dim(inter);
  b.spec.set_intermediate_dim(get("intermediate_size"));
  b.spec.set_vocab_size(vocab);
  b.spec.set_q_lora_rank(get("q_lora_rank"));
  b.spec.set_kv_lora_rank(get("kv_lora_rank"));
  b.spec.set_qk_nope_head_dim(get("qk_nope_head_dim"));
  b.spec.set_qk_rope_head_dim(get("qk_rope_head_dim"));
  b.spec.set_v_head_dim(get("v_head_dim"));
  b.spec.set_shared_intermediate_dim(get("n_shared_experts") * inter);
  if (get("kv_lora_rank") > 0) {
    b.spec.set_n_kv_heads(1);
    b.spec.set_head_dim(get("qk_nope_head_dim") + get("qk_rope_head_dim"));
  }
  for (uint32_t l = 0; l < dense; ++l) b.spec.add_dense_layers(l);
  b.Matrix(Weight::TOKEN_EMBEDDING, 0, vocab, hidden);
  b.Matrix(Weight::LM_HEAD, 0, vocab, hidden);
  b.Vector(Weight::OUTPUT_NORM, 0, hidden);
  for (uint32_t l = 0; l < layers; ++l) {
    b.Vector(Weight::ATTN_NORM, l, hidden);
    b.Vector(Weight::FFN_NORM, l, hidden);
    if (const uint32_t q_lora = get("q_lora_rank")) {
      const uint32_t kv_lora = get("kv_lora_rank"), rope = get("qk_rope_head_dim"),
                     nope = get("qk_nope_head_dim"), v_dim = get("v_head_dim");
      b.Matrix(Weight::ATTN_Q_A, l, q_lora, hidden);
      b.Matrix(Weight::ATTN_Q_B, l, uint64_t{heads} * (nope + rope), q_lora);
      b.Matrix(Weight::ATTN_KV_A, l, kv_lora + rope, hidden);
      b.Matrix(Weight::ATTN_KV_B, l, uint64_t{heads} * (nope + v_dim), kv_lora);
      b.Matrix(Weight::ATTN_O, l, hidden, uint64_t{heads} * v_dim);
    } else {
      b.Matrix(Weight::ATTN_Q, l, uint64_t{heads} * head_dim, hidden);
      b.Matrix(Weight::ATTN_K, l, uint64_t{kv_heads} * head_dim, hidden);
      b.Matrix(Weight::ATTN_V, l, uint64_t{kv_heads} * head_dim, hidden);
      b.Matrix(Weight::ATTN_O, l, hidden, uint64_t{heads} * head_dim);
    }
    if (l < dense) {
      b.Matrix(Weight::DENSE_GATE, l, get("intermediate_size"), hidden);
      b.Matrix(Weight::DENSE_UP, l, get("intermediate_size"), hidden);
      b.Matrix(Weight::DENSE_DOWN, l, hidden, get("intermediate_size"));
      continue;
    }
    b.Matrix(Weight::ROUTER, l, experts, hidden, 0, kernels::WeightType::kF32);
    b.Matrix(Weight::EXPERT_GATE, l, inter, hidden, experts);
    b.Matrix(Weight::EXPERT_UP, l, inter, hidden, experts);
    b.Matrix(Weight::EXPERT_DOWN, l, hidden, inter, experts);
    if (shape.at("model_type") == "gpt_oss") AddGptOssVectors(&b, l);
    if (const uint64_t shared = get("n_shared_experts")) {
      b.Matrix(Weight::SHARED_GATE, l, shared * inter, hidden);
      b.Matrix(Weight::SHARED_UP, l, shared * inter, hidden);
      b.Matrix(Weight::SHARED_DOWN, l, hidden, shared * inter);
    }
  }
  return b.spec;
}

// 4 layers (one dense), hidden 256, 8 heads of 64 over 2 KV heads, 8 experts of 512, vocabulary 4096.
inline proto::ModelSpec SmallModel(kernels::WeightType type) {
  using proto::Weight;
  SpecBuilder b(type);
  b.spec.set_hidden_dim(256);
  b.spec.set_n_layers(4);
  b.spec.set_n_heads(8);
  b.spec.set_n_kv_heads(2);
  b.spec.set_head_dim(64);
  b.spec.set_n_experts(8);
  b.spec.set_n_experts_used(2);
  b.spec.set_moe_intermediate_dim(512);
  b.spec.set_intermediate_dim(768);
  b.spec.set_vocab_size(4096);
  b.Matrix(Weight::TOKEN_EMBEDDING, 0, 4096, 256);
  b.Matrix(Weight::LM_HEAD, 0, 4096, 256);
  b.Vector(Weight::OUTPUT_NORM, 0, 256);
  for (uint32_t l = 0; l < 4; ++l) {
    b.Vector(Weight::ATTN_NORM, l, 256);
    b.Vector(Weight::FFN_NORM, l, 256);
    b.Matrix(Weight::ATTN_Q, l, 512, 256);
    b.Matrix(Weight::ATTN_K, l, 128, 256);
    b.Matrix(Weight::ATTN_V, l, 128, 256);
    b.Matrix(Weight::ATTN_O, l, 256, 512);
    if (l == 0) {
      b.Matrix(Weight::DENSE_GATE, l, 768, 256);
      b.Matrix(Weight::DENSE_UP, l, 768, 256);
      b.Matrix(Weight::DENSE_DOWN, l, 256, 768);
    } else {
      b.Matrix(Weight::ROUTER, l, 8, 256, 0, kernels::WeightType::kF32);
      b.Matrix(Weight::EXPERT_GATE, l, 512, 256, 8);
      b.Matrix(Weight::EXPERT_UP, l, 512, 256, 8);
      b.Matrix(Weight::EXPERT_DOWN, l, 256, 512, 8);
    }
  }
  return b.spec;
}

// 4 layers, of which the last has gated attention and the others linear attention: 6 key heads of 64 with two value heads of
// 96 each, whose q, k, v and z take turns in one tensor; hidden 256, dense FFN of 512, vocabulary 1024.
inline proto::ModelSpec HybridModel() {
  using proto::Weight;
  constexpr uint32_t kHidden = 256, kKeys = 6 * 64, kValues = 12 * 96, kStride = 2 * 64 + 4 * 96;
  SpecBuilder b(kernels::WeightType::kQ8_0);
  b.spec.set_hidden_dim(kHidden);
  b.spec.set_n_layers(4);
  b.spec.set_n_heads(4);
  b.spec.set_n_kv_heads(1);
  b.spec.set_head_dim(64);
  b.spec.set_attn_output_gate(true);
  b.spec.set_intermediate_dim(512);
  b.spec.set_vocab_size(1024);
  b.spec.set_linear_key_heads(6);
  b.spec.set_linear_value_heads(12);
  b.spec.set_linear_key_head_dim(64);
  b.spec.set_linear_value_head_dim(96);
  b.spec.set_linear_conv_kernel(4);
  b.Matrix(Weight::TOKEN_EMBEDDING, 0, 1024, kHidden);
  b.Matrix(Weight::LM_HEAD, 0, 1024, kHidden);
  b.Vector(Weight::OUTPUT_NORM, 0, kHidden);
  for (uint32_t l = 0; l < 4; ++l) {
    b.spec.add_dense_layers(l);
    b.Vector(Weight::ATTN_NORM, l, kHidden);
    b.Vector(Weight::FFN_NORM, l, kHidden);
    b.Matrix(Weight::DENSE_GATE, l, 512, kHidden);
    b.Matrix(Weight::DENSE_UP, l, 512, kHidden);
    b.Matrix(Weight::DENSE_DOWN, l, kHidden, 512);
    if (l == 3) {
      b.Matrix(Weight::ATTN_Q, l, 512, kHidden);
      b.Matrix(Weight::ATTN_K, l, 64, kHidden);
      b.Matrix(Weight::ATTN_V, l, 64, kHidden);
      b.Matrix(Weight::ATTN_O, l, kHidden, 256);
      continue;
    }
    b.spec.add_linear_layers(l);
    const uint64_t row_bytes = kernels::RowBytes(kernels::Info(kernels::WeightType::kQ8_0), kHidden);
    const auto in_turns = [&](Weight::Role role, uint64_t rows, uint32_t first, uint32_t run,
                              uint64_t begin) {
      b.Matrix(role, l, rows, kHidden);
      Weight* w = b.spec.mutable_weights(b.spec.weights_size() - 1);
      w->set_run_rows(run);
      w->set_run_stride(kStride);
      w->set_offset(begin + first * row_bytes);
    };
    b.Matrix(Weight::LINEAR_Q, l, kKeys, kHidden);
    const uint64_t begin = b.spec.weights(b.spec.weights_size() - 1).offset();
    b.spec.mutable_weights()->RemoveLast();
    in_turns(Weight::LINEAR_Q, kKeys, 0, 64, begin);
    in_turns(Weight::LINEAR_K, kKeys, 64, 64, begin);
    in_turns(Weight::LINEAR_V, kValues, 128, 192, begin);
    in_turns(Weight::LINEAR_Z, kValues, 128 + 192, 192, begin);
    b.Matrix(Weight::LINEAR_BETA_ALPHA, l, 24, kHidden);
    b.Matrix(Weight::LINEAR_CONV_Q, l, kKeys, 4, 0, kernels::WeightType::kF32);
    b.Matrix(Weight::LINEAR_CONV_K, l, kKeys, 4, 0, kernels::WeightType::kF32);
    b.Matrix(Weight::LINEAR_CONV_V, l, kValues, 4, 0, kernels::WeightType::kF32);
    b.Vector(Weight::LINEAR_A, l, 12);
    b.Vector(Weight::LINEAR_DT_BIAS, l, 12);
    b.Vector(Weight::LINEAR_NORM, l, 96);
    b.Matrix(Weight::LINEAR_O, l, kHidden, kValues);
  }
  return b.spec;
}

}  // namespace onecopy::test
