// MaskBuilder: which tokens may follow a set of items. The mask of a set is the union of its items' masks; an
// item's is that of its state, which does not depend on the context and is cached, and for the few tokens after
// which the state's rule has ended, a walk from the context (the split into context-independent and -dependent
// tokens is from Dong et al., "XGrammar", 2024). Internal to the matcher; not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/grammar/grammar.h"
#include "runtime/grammar/item_set.h"
#include "runtime/grammar/token_table.h"

namespace onecopy::grammar {

class MaskBuilder {
 public:
  // Everything must outlive the builder. contexts: as before afterwards.
  MaskBuilder(const Grammar& grammar, const TokenTable& tokens, ContextStore* contexts)
      : grammar_(grammar),
        automaton_(grammar.automaton()),
        tokens_(tokens),
        contexts_(contexts),
        stepper_(&automaton_) {}

  // items: closed. costly: the walk would have passed kMaxWork, and only tokens of one byte are in the mask.
  std::shared_ptr<TokenMask> Build(std::span<const Item> items, bool* costly);
  std::shared_ptr<TokenMask> BuildOfOneByteTokens(std::span<const Item> items);

 private:
  static constexpr uint64_t kMaxWork = 2'000'000;  // items looked at

  // What may be read at one depth of the trie. Mostly one state that neither calls nor ends, whose steps are look-ups.
  struct Level {
    bool plain = false;
    Item item{};
    Items items;
    size_t num_contexts = 0;  // when it was made; a walk beside it forgets the later ones
  };

  bool AddSet(std::span<const Item> items, TokenMask* mask);
  std::shared_ptr<const TokenMask> MaskOfState(uint32_t state);
  std::shared_ptr<const TokenMask> MaskByTwin(const State& state, const Item& item);
  // Which depths of the trie count: above `above`, up to `most`, from the root.
  struct Depths {
    uint32_t above = 0, most = UINT32_MAX;
  };
  bool Walk(uint32_t begin, uint32_t end, uint32_t depth, std::span<const Item> from, const Depths& depths,
            TokenMask* mask);
  bool Step(Level* from, uint8_t byte, Level* to);
  bool IsPlain(uint32_t state) const {
    return !automaton_.states[state].final && !automaton_.HasCalls(state);
  }
  bool AllSet(uint32_t begin, uint32_t end, const TokenMask& mask) const;
  bool Overworked() const { return stepper_.work() + plain_steps_ / 16 > kMaxWork; }

  const Grammar& grammar_;
  const Automaton& automaton_;
  const TokenTable& tokens_;
  ContextStore* contexts_;
  Stepper stepper_;
  uint64_t plain_steps_ = 0;
  std::vector<Level> levels_;
};

}  // namespace onecopy::grammar
