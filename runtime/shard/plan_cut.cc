#include "runtime/shard/plan_cut.h"

namespace onecopy::shard {

using proto::Weight;
using proto::WeightPlacement;

Cut CutOf(Weight::Role role) {
  constexpr auto kRowsAxis = WeightPlacement::ROWS;
  constexpr auto kColsAxis = WeightPlacement::COLS;
  switch (role) {
    case Weight::ATTN_Q:
    case Weight::ATTN_Q_B:
    case Weight::ATTN_KV_B:
    case Weight::ATTN_K_B:
    case Weight::ATTN_V_B:
      return {Phase::kAttention, kRowsAxis, Unit::kHeads};
    case Weight::ATTN_O:
      return {Phase::kAttention, kColsAxis, Unit::kHeads};
    case Weight::ATTN_K:
    case Weight::ATTN_V:
    case Weight::ATTN_Q_A:
    case Weight::ATTN_KV_A:
      return {Phase::kAttention, kRowsAxis, Unit::kRows};
    case Weight::LINEAR_V:
    case Weight::LINEAR_Z:
    case Weight::LINEAR_CONV_V:
      return {Phase::kAttention, kRowsAxis, Unit::kLinearHeads};
    case Weight::LINEAR_O:
      return {Phase::kAttention, kColsAxis, Unit::kLinearHeads};
    // Any rank may have any rows of q and k, since all of them are gathered: with fewer key heads than ranks all have some.
    case Weight::LINEAR_Q:
    case Weight::LINEAR_K:
      return {Phase::kAttention, kRowsAxis, Unit::kRows};
    case Weight::LINEAR_CONV_Q:
    case Weight::LINEAR_CONV_K:
      return {Phase::kAttention, kRowsAxis, Unit::kChannels};
    case Weight::LINEAR_BETA:
    case Weight::LINEAR_ALPHA:
    case Weight::LINEAR_BETA_ALPHA:
      return {Phase::kAttention, kRowsAxis, Unit::kRouterRows};
    case Weight::ROUTER:
      return {Phase::kRouter, kRowsAxis, Unit::kRouterRows};
    case Weight::EXPERT_GATE:
    case Weight::EXPERT_UP:
    case Weight::DENSE_GATE:
    case Weight::DENSE_UP:
    case Weight::SHARED_GATE:
    case Weight::SHARED_UP:
      return {Phase::kFfn, kRowsAxis, Unit::kColumnGroups};
    case Weight::EXPERT_DOWN:
    case Weight::DENSE_DOWN:
    case Weight::SHARED_DOWN:
    case Weight::EXPERT_GATE_BIAS:
    case Weight::EXPERT_UP_BIAS:
      // A bias has one row, whose columns go with the rows of its matrix.
      return {Phase::kFfn, kColsAxis, Unit::kColumnGroups};
    case Weight::EXPERT_DOWN_BIAS:
      // Each rank adds its columns to its partial sum. Replicated, those of gpt-oss-120b would be 53 MB a rank.
      return {Phase::kFfn, kColsAxis, Unit::kHiddenCols};
    case Weight::LM_HEAD:
      return {Phase::kHead, kRowsAxis, Unit::kVocabRows};
    case Weight::TOKEN_EMBEDDING:
      return {Phase::kEmbedding, kRowsAxis, Unit::kVocabRows};
    default:
      return {Phase::kAttention, WeightPlacement::REPLICATED, Unit::kNone};
  }
}

}  // namespace onecopy::shard
