#include "runtime/serve/slot_pool.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace onecopy::serve {

SlotPool::SlotPool(StepEngine& engine, uint32_t unit) : engine_(engine), unit_(unit) {
  for (uint32_t slot = engine.limits().slots; slot > 0; --slot) free_.push_back(slot - 1);
}

uint32_t SlotPool::Take() {
  if (free_.empty()) {
    ONECOPY_CHECK(!kept_.empty());
    Drop(0);
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

void SlotPool::GiveBack(uint32_t slot) {
  engine_.Release(slot);
  free_.push_back(slot);
}

void SlotPool::Drop(size_t index) {
  GiveBack(kept_[index].slot);
  kept_.erase(kept_.begin() + static_cast<ptrdiff_t>(index));
}

void SlotPool::Use(size_t index) {
  const auto at = kept_.begin() + static_cast<ptrdiff_t>(index);
  std::rotate(at, at + 1, kept_.end());
}

bool SlotPool::FreePages(uint64_t wanted) {
  while (engine_.free_pages() < wanted && !kept_.empty()) Drop(0);
  return engine_.free_pages() >= wanted;
}

uint32_t SlotPool::Common(std::span<const int32_t> a, std::span<const int32_t> b) const {
  const size_t n = std::min(a.size(), b.size());
  const auto end = std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), b.begin()).first;
  return static_cast<uint32_t>(end - a.begin()) / unit_ * unit_;
}

SlotPool::Beginning SlotPool::FindKept(std::span<const int32_t> prompt, uint32_t most) {
  Beginning best;
  size_t index = 0;
  for (size_t i = 0; i < kept_.size(); ++i) {
    const uint32_t common = Common(prompt.first(most), kept_[i].tokens);
    if (common <= best.tokens) continue;
    best = {kept_[i].slot, common};
    index = i;
  }
  if (best.tokens > 0) Use(index);
  return best;
}

void SlotPool::Keep(uint32_t slot, std::span<const int32_t> prompt) {
  const std::span<const int32_t> tokens = prompt.first(prompt.size() / unit_ * unit_);
  if (tokens.empty()) return;
  for (size_t i = 0; i < kept_.size(); ++i) {
    const std::span<const int32_t> other = kept_[i].tokens;
    const size_t common = std::min(tokens.size(), other.size());
    if (!std::equal(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(common), other.begin())) continue;
    if (other.size() >= tokens.size()) return Use(i);  // which has it as a part
    Drop(i--);                                         // a part of what is kept now
  }
  if (free_.empty() && kept_.empty()) return;  // all slots run
  const uint32_t kept = Take();
  engine_.SharePrefix(slot, kept, static_cast<uint32_t>(tokens.size()));
  kept_.push_back({kept, std::vector<int32_t>(tokens.begin(), tokens.end())});
}

}  // namespace onecopy::serve
