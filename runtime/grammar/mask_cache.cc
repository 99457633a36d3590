#include "runtime/grammar/mask_cache.h"

namespace onecopy::grammar {
namespace {

size_t BytesOf(const TokenMask& mask) {
  constexpr size_t kOverhead = 200;  // of the list and the map
  return mask.bits.size() * sizeof(uint64_t) + mask.open_nodes.size() * sizeof(uint32_t) + kOverhead;
}

}  // namespace

std::shared_ptr<const TokenMask> MaskCache::Find(const MaskKey& key) {
  const std::lock_guard lock(mutex_);
  const auto at = by_key_.find(key);
  if (at == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, at->second);
  return at->second->mask;
}

void MaskCache::Insert(const MaskKey& key, std::shared_ptr<const TokenMask> mask) {
  const std::lock_guard lock(mutex_);
  if (by_key_.contains(key)) return;  // made twice at the same time
  bytes_ += BytesOf(*mask);
  entries_.push_front({key, std::move(mask)});
  by_key_[key] = entries_.begin();
  while (bytes_ > max_bytes_ && !entries_.empty()) {
    bytes_ -= BytesOf(*entries_.back().mask);
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

size_t MaskCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace onecopy::grammar
