#include "runtime/exec/step_counts.h"

#include <algorithm>
#include <utility>

#include "runtime/exec/attention_gqa.h"
#include "runtime/shard/plan.h"

namespace onecopy::exec {

void StepCounts::operator+=(const StepCounts& other) {
  weight_bytes += other.weight_bytes;
  kv_bytes += other.kv_bytes;
  multiply_adds += other.multiply_adds;
  experts += other.experts;
  expert_uses += other.expert_uses;
}

void StepCounter::Cost::Add(const kernels::PackedMatrix& matrix) {
  if (matrix.rows == 0) return;
  bytes += kernels::PackedBytes(matrix);
  multiply_adds += uint64_t{matrix.rows} * matrix.cols;
}

StepCounter::StepCounter(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                         const shard::WeightStore& store, const kernels::KernelTable& table,
                         const KvCache& cache, int rank)
    : spec_(spec),
      n_experts_(std::max(1u, spec.n_experts())),
      experts_(size_t{spec.n_layers()} * n_experts_) {
  for (auto& seen : seen_) seen.resize(cache.n_slots());
  const auto head_role = spec.tied_embeddings() ? proto::Weight::TOKEN_EMBEDDING : proto::Weight::LM_HEAD;
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    if (plan.placements(w).axis() == proto::WeightPlacement::REPLICATED) continue;  // vectors
    if (weight.n_experts() > 0) {
      for (uint32_t e = 0; e < weight.n_experts(); ++e)
        experts_[size_t{weight.layer()} * n_experts_ + weight.first_expert() + e].Add(store.Matrix(w, e));
    } else if (weight.role() == head_role) {
      logits_.Add(store.Matrix(w, 0));
    } else if (weight.role() != proto::Weight::TOKEN_EMBEDDING) {  // a look-up
      every_token_.Add(store.Matrix(w, 0));
    }
  }
  // Keys and values of a head; a latent is both.
  const bool latent = spec.kv_lora_rank() > 0;
  const uint64_t key = latent ? spec.kv_lora_rank() + spec.qk_rope_head_dim() : spec.head_dim();
  const uint64_t value = latent ? spec.kv_lora_rank() : shard::ValueDim(spec);
  const uint64_t position_bytes =
      kernels::KvRowBytes(table.kv_type, key) + (latent ? 0 : kernels::KvRowBytes(table.kv_type, value));
  for (uint32_t l = 0; l < spec.n_layers(); ++l) {
    const uint64_t heads = cache.heads(l).size() > 0 ? shard::OwnedHeads(plan, l, rank).size() : 0;
    const bool sliding = std::binary_search(spec.sliding_layers().begin(), spec.sliding_layers().end(), l);
    PositionCost& cost = sliding ? sliding_ : full_;
    cost.kv_bytes += cache.heads(l).size() * position_bytes;
    cost.multiply_adds += (key + value) * heads;
    heads_ += heads;
    // Of a state each element is read, added to and read again.
    const shard::LinearStateShape state = shard::StateShape(spec, plan, l, rank);
    state_per_token_ += uint64_t{3} * state.value_heads.size() * state.head_floats;
    state_bytes_ += state.floats() * sizeof(float);
  }
}

void StepCounter::Begin(const proto::Step& step, const shard::Chunk& expanded) {
  const auto n = static_cast<uint64_t>(step.tokens_size());
  counts_ = {};
  counts_.weight_bytes = every_token_.bytes;
  counts_.multiply_adds = n * every_token_.multiply_adds;
  if (const auto rows = static_cast<uint64_t>(step.logit_rows_size()); rows > 0) {
    counts_.weight_bytes += logits_.bytes;
    counts_.multiply_adds += rows * logits_.multiply_adds;
  }
  for (auto& seen : seen_) std::fill(seen.begin(), seen.end(), shard::Range{UINT32_MAX, 0});
  for (int t = 0; t < step.tokens_size(); ++t) {
    const uint32_t position = step.positions(t);
    const shard::Range all = SeenPositions(position, 0, 0),
                       near = SeenPositions(position, spec_.sliding_window(), spec_.attention_chunk());
    for (const auto& [of_kind, seen] : {std::pair{&seen_[0], all}, std::pair{&seen_[1], near}}) {
      shard::Range& of_slot = (*of_kind)[step.slots(t)];
      of_slot = {std::min(of_slot.begin, seen.begin), std::max(of_slot.end, seen.end)};
    }
    if (static_cast<uint32_t>(t) >= expanded.tokens)
      counts_.multiply_adds += all.size() * full_.multiply_adds + near.size() * sliding_.multiply_adds;
    counts_.multiply_adds += state_per_token_;
  }
  if (expanded.tokens > 0) {
    // The projections of its own tokens are among the weights' products already.
    const uint64_t projection =
        uint64_t{spec_.kv_lora_rank()} * (spec_.qk_nope_head_dim() + spec_.v_head_dim());
    counts_.multiply_adds +=
        heads_ * (shard::ExpandedMultiplyAdds(spec_, expanded) - expanded.tokens * projection);
  }
  for (size_t slot = 0; slot < seen_[0].size(); ++slot) {
    if (seen_[0][slot].end == 0) continue;
    counts_.kv_bytes +=
        seen_[0][slot].size() * full_.kv_bytes + seen_[1][slot].size() * sliding_.kv_bytes + state_bytes_;
  }
}

void StepCounter::CountExperts(uint32_t layer, const Routing& routing) {
  for (const ExpertGroup& group : routing.groups) {
    const Cost& cost = experts_[size_t{layer} * n_experts_ + group.expert];
    if (cost.bytes == 0) continue;  // no column group of it is here
    counts_.weight_bytes += cost.bytes;
    counts_.multiply_adds += group.size() * cost.multiply_adds;
    ++counts_.experts;
    counts_.expert_uses += group.size();
  }
}

}  // namespace onecopy::exec
