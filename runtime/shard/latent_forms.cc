#include "runtime/shard/latent_forms.h"

#include <algorithm>

#include "runtime/shard/plan.h"

namespace onecopy::shard {
namespace {

// To decode an element of a transposed up-projection and put it into a panel takes 2.1 ns, in which avx512's attention makes
// so many multiply-adds (measured).
constexpr uint64_t kTransposeCost = 170;

uint64_t ProjectionSize(const proto::ModelSpec& spec) {
  return uint64_t{spec.kv_lora_rank()} * (spec.qk_nope_head_dim() + spec.v_head_dim());
}

// Pairs of a token and a position that it sees.
uint64_t Pairs(const Chunk& chunk) {
  return chunk.tokens * chunk.position + chunk.tokens * (chunk.tokens + 1) / 2;
}

bool IsTransposed(const proto::ModelSpec& spec) {
  return std::any_of(spec.weights().begin(), spec.weights().end(),
                     [](const proto::Weight& w) { return w.role() == proto::Weight::ATTN_K_B; });
}

}  // namespace

uint64_t AbsorbedMultiplyAdds(const proto::ModelSpec& spec, const Chunk& chunk) {
  return chunk.tokens * ProjectionSize(spec) +
         Pairs(chunk) * (2ull * spec.kv_lora_rank() + spec.qk_rope_head_dim());
}

uint64_t ExpandedMultiplyAdds(const proto::ModelSpec& spec, const Chunk& chunk) {
  return (chunk.position + chunk.tokens) * ProjectionSize(spec) +
         Pairs(chunk) * (uint64_t{spec.qk_nope_head_dim()} + spec.qk_rope_head_dim() + spec.v_head_dim());
}

bool IsExpanded(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const Chunk& chunk) {
  if (spec.kv_lora_rank() == 0 || plan.mla_cache() == proto::ShardPlan::BY_POSITION) return false;
  uint64_t expanded = ExpandedMultiplyAdds(spec, chunk);
  if (IsTransposed(spec)) expanded += kTransposeCost * spec.kv_lora_rank() * spec.qk_nope_head_dim();
  return expanded < AbsorbedMultiplyAdds(spec, chunk);
}

uint64_t ExpandedBytes(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank) {
  if (spec.kv_lora_rank() == 0 || plan.mla_cache() == proto::ShardPlan::BY_POSITION) return 0;
  uint64_t heads = 0;
  for (uint32_t l = 0; l < spec.n_layers(); ++l)
    heads = std::max<uint64_t>(heads, OwnedHeads(plan, l, rank).size());
  const uint64_t nope = spec.qk_nope_head_dim(), rope = spec.qk_rope_head_dim(), latent = spec.kv_lora_rank();
  const uint64_t of_head =
      kExpandedPositions * (nope + rope + spec.v_head_dim()) + (IsTransposed(spec) ? latent * nope : 0);
  // As floats, the widest type of a cache; latents once more as activations.
  return (heads * of_head + size_t{2} * kExpandedPositions * (latent + rope)) * sizeof(float);
}

}  // namespace onecopy::shard
