#include "runtime/exec/kv_cache.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/shard/pipeline.h"

namespace onecopy::exec {

static_assert(KvCache::kPageTokens == shard::kMlaBlockPositions);

KvCache::KvCache(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                 const kernels::KernelTable& table, int rank, numa::ArenaSource* memory, uint64_t tokens,
                 uint32_t slots)
    : latent_(spec.kv_lora_rank() > 0),
      value_stride_(latent_ ? spec.kv_lora_rank() + spec.qk_rope_head_dim() : shard::ValueDim(spec)),
      key_bytes_(kernels::KvRowBytes(table.kv_type, latent_ ? value_stride_ : spec.head_dim())),
      value_bytes_(latent_ ? 0 : kernels::KvRowBytes(table.kv_type, value_stride_)),
      pages_(DivUp(tokens, kPageTokens)),
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
  const uint64_t places = (pages_.size() + uint64_t{slots} * (page_step_ - 1)) / page_step_;
  arena_ = memory->Make("KV cache", places * page_bytes_);
  for (uint64_t p = places; p > 0; --p) free_places_.push_back(static_cast<uint32_t>(p - 1));
  for (uint64_t p = pages_.size(); p > 0; --p) free_pages_.push_back(static_cast<uint32_t>(p - 1));
}

uint64_t KvCache::NewPages(uint32_t slot, uint32_t n_positions) const {
  const uint64_t pages = DivUp(n_positions, kPageTokens), held = slots_[slot].size();
  return pages > held ? pages - held : 0;
}

bool KvCache::Grow(uint32_t slot, uint32_t n_positions) {
  if (NewPages(slot, n_positions) > free_pages()) return false;
  auto& held = slots_[slot];
  while (held.size() * kPageTokens < n_positions) {
    const uint32_t index = free_pages_.back();
    free_pages_.pop_back();
    Page& page = pages_[index];
    page.holders = 1;
    if (Holds(static_cast<uint32_t>(held.size() * kPageTokens))) {
      page.place = free_places_.back();
      free_places_.pop_back();
    }
    held.push_back(index);
  }
  return true;
}

void KvCache::Release(uint32_t slot) {
  auto& held = slots_[slot];
  for (auto index = held.rbegin(); index != held.rend(); ++index) {
    Page& page = pages_[*index];
    if (--page.holders > 0) continue;
    if (page.place != kElsewhere) free_places_.push_back(page.place);
    page.place = kElsewhere;
    free_pages_.push_back(*index);
  }
  held.clear();
}

void KvCache::Share(uint32_t from, uint32_t to, uint32_t n_pages) {
  ONECOPY_CHECK(slots_[to].empty() && n_pages <= slots_[from].size());
  slots_[to].assign(slots_[from].begin(), slots_[from].begin() + n_pages);
  for (const uint32_t index : slots_[to]) ++pages_[index].holders;
}

uint8_t* KvCache::InPage(uint32_t layer, uint32_t slot, uint32_t position) const {
  return arena_.data() + pages_[slots_[slot][position / kPageTokens]].place * page_bytes_ +
         layers_[layer].offset;
}

}  // namespace onecopy::exec
