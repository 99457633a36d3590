// Steps of the automaton over sets of items: what may be read next after a text. The sets of a text of n bytes have at
// most states × n items whatever the ambiguity (Earley, "An Efficient Context-Free Parsing Algorithm", 1970), and are
// limited besides. Internal to the matcher; not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/grammar/automaton.h"
#include "runtime/grammar/context_store.h"

namespace onecopy::grammar {

using Items = std::vector<Item>;  // different ones, in any order

class Stepper {
 public:
  static constexpr uint32_t kMaxDepth = 256;  // of contexts: a value this deep inside others is refused
  static constexpr size_t kMaxItems = 1024;   // a text after which there are more is refused

  explicit Stepper(const Automaton* automaton) : automaton_(automaton) {}

  // What holds before anything is read.
  void Start(ContextStore* contexts, Items* to);
  // What holds after one more byte; empty when no text of the grammar goes on so, or a limit above is passed.
  void Advance(std::span<const Item> from, uint8_t byte, ContextStore* contexts, Items* to);
  // What holds where these are reached, and what follows from it without reading.
  void Close(std::span<const Item> items, ContextStore* contexts, Items* to);

  uint64_t work() const { return work_; }  // items looked at, ever

 private:
  struct Pending {
    uint32_t order, rule;
    Item entry;
  };
  void Begin(Items* to);
  void Add(const Item& item);
  void Finish(ContextStore* contexts);
  void EnterNextRule(ContextStore* contexts);

  const Automaton* automaton_;
  uint64_t work_ = 0;
  Items* set_ = nullptr;  // the one that is being made
  bool overflow_ = false;
  std::vector<Pending> pending_;  // a heap: least order first
  std::vector<Item> entries_;
  // Where an item stands in a set of many; valid where `round` is that of the set.
  struct Slot {
    uint32_t round, index;
  };
  std::vector<Slot> slots_;
  uint32_t round_ = 0;
};

}  // namespace onecopy::grammar
