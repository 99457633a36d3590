// KvCache: keys and values of this rank's KV heads, in pages of kPageTokens positions. A sequence lives in a
// slot and takes pages as it grows; sequences that begin with the same tokens may share the pages of those. Every rank makes
// the same calls in the same order, so what is free agrees without being sent. Not thread-safe; the memory may be read and written by the thread team between calls.
//
// Layout: [page][layer][K, V][KV head of this rank][position in page][head_dim; of V the length of values], in rows of the
// kernel table's kv_type (KvRowBytes); pages that were never used were never touched.
//
// With multi-head latent attention a position has one vector a layer, [kv_lora_rank + qk_rope_head_dim], which is the
// key of all heads, and its first kv_lora_rank values their value. Cut by position (ShardPlan.MlaCache), a rank has
// memory for every n-th page of a sequence only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/numa/arena.h"
#include "runtime/shard/plan.h"

namespace onecopy::exec {

class KvCache {
 public:
  static constexpr uint32_t kPageTokens = kernels::kKvPagePositions;

  // Room for `tokens` positions (rounded up to pages) over all sequences, at most `slots` sequences,
  // taken from `memory`. Errors: as numa::Arena.
  KvCache(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const kernels::KernelTable& table,
          int rank, numa::ArenaSource* memory, uint64_t tokens, uint32_t slots);

  // Positions [0, n) of the slot have pages after it; false, with nothing changed, where the cache is full.
  bool Grow(uint32_t slot, uint32_t n_positions);
  void Release(uint32_t slot);
  // The first n_pages of `from` become the first of `to` too, which has none yet. Both may read them; whoever grows writes
  // behind them.
  void Share(uint32_t from, uint32_t to, uint32_t n_pages);
  // Pages that Grow would take, and those there are, wherever they lie.
  uint64_t NewPages(uint32_t slot, uint32_t n_positions) const;
  uint64_t free_pages() const { return free_pages_.size(); }
  uint64_t n_pages() const { return pages_.size(); }

  // Whether this rank has the page of that position.
  bool Holds(uint32_t position) const { return position / kPageTokens % page_step_ == first_page_; }
  // One position's vector; kv_head counts from the rank's first head of that layer.
  uint8_t* Key(uint32_t layer, uint32_t kv_head, uint32_t slot, uint32_t position) const {
    return InPage(layer, slot, position) + RowOf(kv_head, position) * key_bytes_;
  }
  uint8_t* Value(uint32_t layer, uint32_t kv_head, uint32_t slot, uint32_t position) const {
    if (latent_) return Key(layer, kv_head, slot, position);
    return InPage(layer, slot, position) +
           uint64_t{layers_[layer].kv_heads.size()} * kPageTokens * key_bytes_ +
           RowOf(kv_head, position) * value_bytes_;
  }
  // Elements of the row that a position's values are in.
  size_t value_stride() const { return value_stride_; }

  uint32_t n_slots() const { return static_cast<uint32_t>(slots_.size()); }
  uint64_t bytes() const { return arena_.bytes(); }
  const numa::Arena& arena() const { return arena_; }
  const shard::Range& heads(uint32_t layer) const { return layers_[layer].kv_heads; }

 private:
  static constexpr uint32_t kElsewhere = UINT32_MAX;
  struct Page {
    uint32_t place = kElsewhere;  // in the arena, in pages; kElsewhere on ranks that do not have it
    uint32_t holders = 0;         // slots; 0: the page is free
  };
  struct Layer {
    shard::Range kv_heads;
    uint64_t offset;  // in a page
  };
  // What the page of the position has of the layer.
  uint8_t* InPage(uint32_t layer, uint32_t slot, uint32_t position) const;
  static uint64_t RowOf(uint32_t kv_head, uint32_t position) {
    return uint64_t{kv_head} * kPageTokens + position % kPageTokens;
  }

  bool latent_;
  size_t value_stride_;
  uint64_t key_bytes_, value_bytes_;  // of a position and head; of latents there are no values apart
  uint64_t page_bytes_ = 0;
  uint32_t first_page_ = 0, page_step_ = 1;  // pages of a sequence that this rank has
  std::vector<Layer> layers_;
  numa::Arena arena_;
  std::vector<Page> pages_;                   // of all ranks
  std::vector<uint32_t> free_pages_;          // indices into pages_, taken from the back
  std::vector<uint32_t> free_places_;         // in this rank's arena, taken from the back
  std::vector<std::vector<uint32_t>> slots_;  // indices into pages_, of each slot
};

}  // namespace onecopy::exec
