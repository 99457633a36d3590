// Roles of weights: the shape of each, in terms of the model's hyper-parameters.
#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/model/model_spec.h"

namespace onecopy {

using proto::Weight;

RoleShape ShapeOfRole(const proto::ModelSpec& spec, Weight::Role role) {
  const uint64_t hidden = spec.hidden_dim();
  const uint64_t q = static_cast<uint64_t>(spec.n_heads()) * spec.head_dim();
  const uint64_t kv = static_cast<uint64_t>(spec.n_kv_heads()) * spec.head_dim();
  switch (role) {
    case Weight::TOKEN_EMBEDDING:
    case Weight::LM_HEAD:
      return {spec.vocab_size(), hidden};
    case Weight::OUTPUT_NORM:
    case Weight::ATTN_NORM:
    case Weight::FFN_NORM:
      return {1, hidden};
    case Weight::ATTN_Q:
      return {q, hidden};
    case Weight::ATTN_K:
    case Weight::ATTN_V:
      return {kv, hidden};
    case Weight::ATTN_O:
      return {hidden, q};
    case Weight::ATTN_Q_NORM:
    case Weight::ATTN_K_NORM:
      return {1, spec.head_dim()};
    case Weight::ATTN_Q_BIAS:
      return {1, q};
    case Weight::ATTN_K_BIAS:
    case Weight::ATTN_V_BIAS:
      return {1, kv};
    case Weight::ROUTER:
      return {spec.n_experts(), hidden};
    case Weight::EXPERT_GATE:
    case Weight::EXPERT_UP:
      return {spec.moe_intermediate_dim(), hidden};
    case Weight::EXPERT_DOWN:
      return {hidden, spec.moe_intermediate_dim()};
    case Weight::DENSE_GATE:
    case Weight::DENSE_UP:
      return {spec.intermediate_dim(), hidden};
    case Weight::DENSE_DOWN:
      return {hidden, spec.intermediate_dim()};
    default:
      break;  // protobuf's sentinels
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
    case Weight::FFN_NORM:
      return true;
    default:
      return false;
  }
}

bool IsExpertRole(Weight::Role role) {
  return role == Weight::EXPERT_GATE || role == Weight::EXPERT_UP || role == Weight::EXPERT_DOWN;
}

bool IsDenseLayer(const proto::ModelSpec& spec, uint32_t layer) {
  return std::find(spec.dense_layers().begin(), spec.dense_layers().end(), layer) !=
         spec.dense_layers().end();
}

}  // namespace onecopy
