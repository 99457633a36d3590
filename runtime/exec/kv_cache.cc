#include "runtime/exec/kv_cache.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace onecopy::exec {

KvCache::KvCache(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                 const kernels::KernelTable& table, int rank, numa::ArenaSource* memory, uint64_t tokens,
                 uint32_t slots)
    : row_bytes_(spec.head_dim() * kernels::KvBytes(table.kv_type)), slots_(slots) {
  for (uint32_t l = 0; l < spec.n_layers(); ++l) {
    layers_.push_back({shard::OwnedKvHeads(spec, plan, l, rank), page_bytes_});
    page_bytes_ += 2ull * layers_.back().kv_heads.size() * kPageTokens * row_bytes_;
  }
  const uint64_t pages = DivUp(tokens, kPageTokens);
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
    pages.push_back(free_pages_.back());
    free_pages_.pop_back();
  }
  return true;
}

void KvCache::Release(uint32_t slot) {
  auto& pages = slots_[slot];
  free_pages_.insert(free_pages_.end(), pages.rbegin(), pages.rend());
  pages.clear();
}

uint8_t* KvCache::Row(uint32_t layer, uint32_t kv, uint32_t kv_head, uint32_t slot, uint32_t position) const {
  const Layer& l = layers_[layer];
  const uint64_t page = slots_[slot][position / kPageTokens];
  const uint64_t row = (uint64_t{kv} * l.kv_heads.size() + kv_head) * kPageTokens + position % kPageTokens;
  return arena_.data() + page * page_bytes_ + l.offset + row * row_bytes_;
}

}  // namespace onecopy::exec
