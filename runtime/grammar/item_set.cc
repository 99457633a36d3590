#include "runtime/grammar/item_set.h"

#include <algorithm>

namespace onecopy::grammar {
namespace {

constexpr size_t kFewItems = 12;  // up to here a search one by one is quicker
constexpr size_t kNumSlots = 4 * Stepper::kMaxItems;

size_t SlotOf(const Item& item) {
  const uint64_t hash = (uint64_t{item.state} << 32 | item.context) * 0x9E3779B97F4A7C15u;
  return hash >> 52;
}
static_assert(kNumSlots == 1u << 12);

}  // namespace

void Stepper::Begin(Items* to) {
  set_ = to;
  set_->clear();
  pending_.clear();
  overflow_ = false;
}

void Stepper::Add(const Item& item) {
  if (set_->size() < kFewItems) {
    if (std::find(set_->begin(), set_->end(), item) != set_->end()) return;
    set_->push_back(item);
    return;
  }
  if (overflow_ || set_->size() == kMaxItems) {
    overflow_ = true;
    return;
  }
  slots_.resize(kNumSlots, {0, 0});
  if (set_->size() == kFewItems) {
    ++round_;
    for (uint32_t i = 0; i < kFewItems; ++i) {
      size_t at = SlotOf((*set_)[i]);
      while (slots_[at].round == round_) at = (at + 1) % kNumSlots;
      slots_[at] = {round_, i};
    }
  }
  size_t at = SlotOf(item);
  for (; slots_[at].round == round_; at = (at + 1) % kNumSlots)
    if ((*set_)[slots_[at].index] == item) return;
  slots_[at] = {round_, static_cast<uint32_t>(set_->size())};
  set_->push_back(item);
}

void Stepper::Finish(ContextStore* contexts) {
  size_t next = 0;
  while (!overflow_) {
    if (next == set_->size()) {
      if (pending_.empty()) break;
      EnterNextRule(contexts);
      continue;
    }
    const Item item = (*set_)[next++];
    ++work_;
    if (automaton_->states[item.state].final) {
      // Its rule may end here.
      const std::span<const Item> entries = contexts->Entries(item.context);
      work_ += entries.size();
      for (const Item& entry : entries) Add(entry);
    }
    for (const CallEdge& call : automaton_->Calls(item.state)) {
      ++work_;
      const RuleInfo& rule = automaton_->rules[call.rule];
      if (rule.nullable) Add({call.to, item.context});
      pending_.push_back({rule.order, call.rule, {call.to, item.context}});
      std::push_heap(pending_.begin(), pending_.end(),
                     [](const Pending& a, const Pending& b) { return a.order > b.order; });
    }
  }
  if (overflow_) set_->clear();
}

// All who call one rule here share one context. A rule comes after all that can call it without reading, so that no
// caller is missing.
void Stepper::EnterNextRule(ContextStore* contexts) {
  const uint32_t rule = pending_.front().rule;
  entries_.clear();
  while (!pending_.empty() && pending_.front().rule == rule) {
    std::pop_heap(pending_.begin(), pending_.end(),
                  [](const Pending& a, const Pending& b) { return a.order > b.order; });
    const Item entry = pending_.back().entry;
    pending_.pop_back();
    // A call that is the last of its rule returns to the caller's caller: recursion on the right needs no stack.
    if (automaton_->IsLast(entry.state)) {
      const std::span<const Item> outer = contexts->Entries(entry.context);
      entries_.insert(entries_.end(), outer.begin(), outer.end());
    } else {
      entries_.push_back(entry);
    }
    work_ += 1;
  }
  if (entries_.size() > 16 * kMaxItems) {
    overflow_ = true;
    return;
  }
  const uint32_t context = contexts->Intern(&entries_);
  // Contexts become deeper only when something is read, so that it is the last byte that is one too many.
  overflow_ |= contexts->Depth(context) > kMaxDepth;
  Add({automaton_->rules[rule].start, context});
}

void Stepper::Start(ContextStore* contexts, Items* to) {
  const Item root{automaton_->rules[automaton_->root].start, ContextStore::kRoot};
  Close({&root, 1}, contexts, to);
}

void Stepper::Close(std::span<const Item> items, ContextStore* contexts, Items* to) {
  Begin(to);
  for (const Item& item : items) Add(item);
  Finish(contexts);
}

void Stepper::Advance(std::span<const Item> from, uint8_t byte, ContextStore* contexts, Items* to) {
  Begin(to);
  for (const Item& item : from) {
    ++work_;
    for (const ByteEdge& edge : automaton_->ByteEdges(item.state)) {
      if (edge.lo > byte) break;
      if (edge.hi >= byte) Add({edge.to, item.context});
    }
  }
  Finish(contexts);
}

}  // namespace onecopy::grammar
