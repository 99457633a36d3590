// Roles of weights: the shape of each, in terms of the model's hyper-parameters.
#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/model/model_spec.h"

namespace onecopy {

using proto::Weight;

bool IsSlidingLayer(const proto::ModelSpec& spec, uint32_t layer) {
  return std::binary_search(spec.sliding_layers().begin(), spec.sliding_layers().end(), layer);
}

uint32_t KvHeadsOf(const proto::ModelSpec& spec, uint32_t layer) {
  const bool own = spec.sliding_kv_heads() != 0 && IsSlidingLayer(spec, layer);
  return own ? spec.sliding_kv_heads() : spec.n_kv_heads();
}

uint32_t MostKvHeads(const proto::ModelSpec& spec) {
  return std::max(spec.n_kv_heads(), spec.sliding_kv_heads());
}

uint32_t ValueDim(const proto::ModelSpec& spec) {
  return spec.v_head_dim() != 0 ? spec.v_head_dim() : spec.head_dim();
}

RoleShape ShapeOfRole(const proto::ModelSpec& spec, Weight::Role role, uint32_t layer) {
  const uint64_t hidden = spec.hidden_dim();
  const uint64_t heads = spec.n_heads();
  const uint64_t q = heads * spec.head_dim();
  const uint64_t kv_heads = KvHeadsOf(spec, layer), kv = kv_heads * spec.head_dim();
  const uint64_t linear_keys = uint64_t{spec.linear_key_heads()} * spec.linear_key_head_dim();
  const uint64_t linear_values = uint64_t{spec.linear_value_heads()} * spec.linear_value_head_dim();
  switch (role) {
    case Weight::TOKEN_EMBEDDING:
    case Weight::LM_HEAD:
      return {spec.vocab_size(), hidden};
    case Weight::OUTPUT_NORM:
    case Weight::ATTN_NORM:
    case Weight::FFN_NORM:
    case Weight::SHARED_INPUT_GATE:
      return {1, hidden};
    case Weight::ATTN_Q:
      return {spec.attn_output_gate() ? 2 * q : q, hidden};
    case Weight::ATTN_K:
      return {kv, hidden};
    case Weight::ATTN_V:
      return {kv_heads * ValueDim(spec), hidden};
    case Weight::ATTN_O:
      return {hidden, heads * ValueDim(spec)};
    case Weight::ATTN_Q_NORM:
      return {1, spec.qk_norm_over_heads() ? q : spec.head_dim()};
    case Weight::ATTN_K_NORM:
      return {1, spec.qk_norm_over_heads() ? kv : spec.head_dim()};
    case Weight::ROPE_FACTORS:
      return {1, spec.rope_dims() / 2};
    case Weight::ATTN_Q_BIAS:
      return {1, q};
    case Weight::ATTN_K_BIAS:
      return {1, kv};
    case Weight::ATTN_V_BIAS:
      return {1, kv_heads * ValueDim(spec)};
    case Weight::ATTN_O_BIAS:
      return {1, hidden};
    case Weight::ATTN_SINKS:
      return {1, heads};
    case Weight::ATTN_Q_A:
      return {spec.q_lora_rank(), hidden};
    case Weight::ATTN_Q_A_NORM:
      return {1, spec.q_lora_rank()};
    case Weight::ATTN_Q_B:
      return {q, spec.q_lora_rank()};
    case Weight::ATTN_KV_A:
      return {uint64_t{spec.kv_lora_rank()} + spec.qk_rope_head_dim(), hidden};
    case Weight::ATTN_KV_A_NORM:
      return {1, spec.kv_lora_rank()};
    case Weight::ATTN_KV_B:
      return {heads * (uint64_t{spec.qk_nope_head_dim()} + spec.v_head_dim()), spec.kv_lora_rank()};
    case Weight::ATTN_K_B:
      return {heads * spec.kv_lora_rank(), spec.qk_nope_head_dim()};
    case Weight::ATTN_V_B:
      return {heads * spec.v_head_dim(), spec.kv_lora_rank()};
    case Weight::LINEAR_Q:
    case Weight::LINEAR_K:
      return {linear_keys, hidden};
    case Weight::LINEAR_V:
    case Weight::LINEAR_Z:
      return {linear_values, hidden};
    case Weight::LINEAR_BETA:
    case Weight::LINEAR_ALPHA:
      return {spec.linear_value_heads(), hidden};
    case Weight::LINEAR_BETA_ALPHA:
      return {2ull * spec.linear_value_heads(), hidden};
    case Weight::LINEAR_CONV_Q:
    case Weight::LINEAR_CONV_K:
      return {linear_keys, spec.linear_conv_kernel()};
    case Weight::LINEAR_CONV_V:
      return {linear_values, spec.linear_conv_kernel()};
    case Weight::LINEAR_A:
    case Weight::LINEAR_DT_BIAS:
      return {1, spec.linear_value_heads()};
    case Weight::LINEAR_NORM:
      return {1, spec.linear_value_head_dim()};
    case Weight::LINEAR_O:
      return {hidden, linear_values};
    case Weight::ROUTER:
      return {spec.n_experts(), hidden};
    case Weight::ROUTER_BIAS:
    case Weight::ROUTER_LOGIT_BIAS:
      return {1, spec.n_experts()};
    case Weight::EXPERT_GATE:
    case Weight::EXPERT_UP:
      return {spec.moe_intermediate_dim(), hidden};
    case Weight::EXPERT_DOWN:
      return {hidden, spec.moe_intermediate_dim()};
    case Weight::EXPERT_GATE_BIAS:
    case Weight::EXPERT_UP_BIAS:
      return {1, spec.moe_intermediate_dim()};
    case Weight::EXPERT_DOWN_BIAS:
      return {1, hidden};
    case Weight::SHARED_GATE:
    case Weight::SHARED_UP:
      return {spec.shared_intermediate_dim(), hidden};
    case Weight::SHARED_DOWN:
      return {hidden, spec.shared_intermediate_dim()};
    case Weight::DENSE_GATE:
    case Weight::DENSE_UP:
      return {spec.intermediate_dim(), hidden};
    case Weight::DENSE_DOWN:
      return {hidden, spec.intermediate_dim()};
    case proto::Weight_Role_Weight_Role_INT_MIN_SENTINEL_DO_NOT_USE_:
    case proto::Weight_Role_Weight_Role_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  Fail(ErrorCode::kInternal, "weight role {} has no shape", static_cast<int>(role));
}

bool IsVectorRole(Weight::Role role) {
  switch (role) {
    case Weight::OUTPUT_NORM:
    case Weight::ATTN_NORM:
    case Weight::ATTN_Q_NORM:
    case Weight::ATTN_K_NORM:
    case Weight::ATTN_Q_BIAS:
    case Weight::ATTN_K_BIAS:
    case Weight::ATTN_V_BIAS:
    case Weight::ATTN_O_BIAS:
    case Weight::ATTN_SINKS:
    case Weight::ATTN_Q_A_NORM:
    case Weight::ATTN_KV_A_NORM:
    case Weight::FFN_NORM:
    case Weight::ROUTER_BIAS:
    case Weight::ROUTER_LOGIT_BIAS:
    case Weight::EXPERT_GATE_BIAS:
    case Weight::EXPERT_UP_BIAS:
    case Weight::EXPERT_DOWN_BIAS:
    case Weight::SHARED_INPUT_GATE:
    case Weight::ROPE_FACTORS:
    case Weight::LINEAR_A:
    case Weight::LINEAR_DT_BIAS:
    case Weight::LINEAR_NORM:
      return true;
    default:
      return false;
  }
}

bool IsExpertRole(Weight::Role role) {
  switch (role) {
    case Weight::EXPERT_GATE:
    case Weight::EXPERT_UP:
    case Weight::EXPERT_DOWN:
    case Weight::EXPERT_GATE_BIAS:
    case Weight::EXPERT_UP_BIAS:
    case Weight::EXPERT_DOWN_BIAS:
      return true;
    default:
      return false;
  }
}

uint64_t HeadsOfShape(const proto::ModelSpec& spec, Weight::Role role) {
  return role == Weight::ATTN_K_B || role == Weight::ATTN_V_B ? spec.n_heads() : 0;
}

bool LayerHasRole(const proto::ModelSpec& spec, Weight::Role role, uint32_t layer) {
  switch (role) {
    case Weight::DENSE_GATE:
    case Weight::DENSE_UP:
    case Weight::DENSE_DOWN:
      return IsDenseLayer(spec, layer);
    case Weight::ATTN_SINKS:
      return !spec.sinks_in_sliding_layers() || IsSlidingLayer(spec, layer);
    case Weight::ROUTER:
    case Weight::ROUTER_BIAS:
    case Weight::ROUTER_LOGIT_BIAS:
      return !IsDenseLayer(spec, layer);
    case Weight::ATTN_Q:
    case Weight::ATTN_K:
    case Weight::ATTN_V:
    case Weight::ATTN_O:
    case Weight::ATTN_Q_NORM:
    case Weight::ATTN_K_NORM:
    case Weight::ATTN_Q_BIAS:
    case Weight::ATTN_K_BIAS:
    case Weight::ATTN_V_BIAS:
    case Weight::ATTN_O_BIAS:
      return !IsLinearLayer(spec, layer);
    case Weight::LINEAR_Q:
    case Weight::LINEAR_K:
    case Weight::LINEAR_V:
    case Weight::LINEAR_Z:
    case Weight::LINEAR_BETA:
    case Weight::LINEAR_ALPHA:
    case Weight::LINEAR_BETA_ALPHA:
    case Weight::LINEAR_CONV_Q:
    case Weight::LINEAR_CONV_K:
    case Weight::LINEAR_CONV_V:
    case Weight::LINEAR_A:
    case Weight::LINEAR_DT_BIAS:
    case Weight::LINEAR_NORM:
    case Weight::LINEAR_O:
      return IsLinearLayer(spec, layer);
    case Weight::SHARED_GATE:
    case Weight::SHARED_UP:
    case Weight::SHARED_DOWN:
    case Weight::SHARED_INPUT_GATE:
      return !IsDenseLayer(spec, layer) && spec.shared_intermediate_dim() > 0;
    default:
      return !IsExpertRole(role) || !IsDenseLayer(spec, layer);
  }
}

bool IsDenseLayer(const proto::ModelSpec& spec, uint32_t layer) {
  return std::binary_search(spec.dense_layers().begin(), spec.dense_layers().end(), layer);
}

bool IsLinearLayer(const proto::ModelSpec& spec, uint32_t layer) {
  return std::binary_search(spec.linear_layers().begin(), spec.linear_layers().end(), layer);
}

}  // namespace onecopy
