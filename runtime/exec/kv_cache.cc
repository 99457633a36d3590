#include "runtime/exec/kv_cache.h"

#include <algorithm>
#include <iterator>

#include "runtime/base/check.h"
#include "runtime/shard/pipeline.h"

namespace onecopy::exec {

static_assert(KvCache::kPageTokens == shard::kMlaBlockPositions);

KvCache::KvCache(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                 const kernels::KernelTable& table, int rank, numa::ArenaSource* memory, uint64_t tokens,
                 uint32_t slots)
    : latent_(spec.kv_lora_rank() > 0),
      value_stride_(latent_ ? spec.kv_lora_rank() + spec.qk_rope_head_dim() : shard::ValueDim(spec)),
      key_bytes_((latent_ ? value_stride_ : spec.head_dim()) * kernels::KvBytes(table.kv_type)),
      value_bytes_(latent_ ? 0 : value_stride_ * kernels::KvBytes(table.kv_type)),
      n_free_(DivUp(tokens, kPageTokens)),
      slots_(slots) {
  const int stage = shard::StageOfRank(plan, rank);
  const shard::Range of_stage = shard::LayersOfStage(plan, stage), ranks = shard::RanksOfStage(plan, stage);
  for (uint32_t l = 0; l < spec.n_layers(); ++l) {
    const bool here = l >= of_stage.begin && l < of_stage.end;
    const shard::Range latent = {0, here ? 1u : 0u};
    layers_.push_back({latent_ ? latent : shard::OwnedKvHeads(spec, plan, l, rank), page_bytes_});
    page_bytes_ += uint64_t{layers_.back().kv_heads.size()} * kPageTokens * (key_bytes_ + value_bytes_);
  }
  if (plan.mla_cache() == proto::ShardPlan::BY_POSITION) {
    page_step_ = ranks.size();
    first_page_ = static_cast<uint32_t>(rank) - ranks.begin;
  }
  // Enough wherever the sequences end: each may have one page more here than on the stage's last rank.
  const uint64_t pages = (n_free_ + uint64_t{slots} * (page_step_ - 1)) / page_step_;
  arena_ = memory->Make("KV cache", pages * page_bytes_);
  for (uint64_t p = pages; p > 0; --p) free_pages_.push_back(static_cast<uint32_t>(p - 1));
}

uint64_t KvCache::NewPages(uint32_t slot, uint32_t n_positions) const {
  const uint64_t pages = DivUp(n_positions, kPageTokens), held = slots_[slot].size();
  return pages > held ? pages - held : 0;
}

bool KvCache::Grow(uint32_t slot, uint32_t n_positions) {
  if (NewPages(slot, n_positions) > free_pages()) return false;
  auto& pages = slots_[slot];
  while (pages.size() * kPageTokens < n_positions) {
    --n_free_;
    if (!Holds(static_cast<uint32_t>(pages.size() * kPageTokens))) {
      pages.push_back(kElsewhere);
      continue;
    }
    pages.push_back(free_pages_.back());
    free_pages_.pop_back();
  }
  return true;
}

void KvCache::Release(uint32_t slot) {
  auto& pages = slots_[slot];
  n_free_ += pages.size();
  std::copy_if(pages.rbegin(), pages.rend(), std::back_inserter(free_pages_),
               [](uint32_t page) { return page != kElsewhere; });
  pages.clear();
}

uint8_t* KvCache::InPage(uint32_t layer, uint32_t slot, uint32_t position) const {
  return arena_.data() + slots_[slot][position / kPageTokens] * page_bytes_ + layers_[layer].offset;
}

}  // namespace onecopy::exec
