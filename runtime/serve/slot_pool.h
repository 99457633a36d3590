// SlotPool: the engine's slots: those that are free, and those that keep a prompt whose keys and values later prompts with
// the same beginning share. Kept prompts make way, the longest unused first, whenever a slot or a page is wanted. Belongs to
// the scheduler's thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/serve/step_engine.h"

namespace onecopy::serve {

class SlotPool {
 public:
  // The engine outlives it. unit: tokens of which kept beginnings are multiples.
  SlotPool(StepEngine& engine, uint32_t unit);

  // A slot without tokens. There are more slots than sequences may run.
  uint32_t Take();
  // Forgets what the slot holds.
  void GiveBack(uint32_t slot);
  // Lets go of kept prompts until there are so many free pages; false where there are not.
  bool FreePages(uint64_t wanted);

  // Which slot holds the most of a beginning, in tokens.
  struct Beginning {
    uint32_t slot = 0, tokens = 0;
  };
  // Of `prompt`, at most `most` tokens, among kept prompts; the one that is found counts as used.
  Beginning FindKept(std::span<const int32_t> prompt, uint32_t most);
  // How many tokens two beginnings have in common, a multiple of the unit.
  uint32_t Common(std::span<const int32_t> a, std::span<const int32_t> b) const;

  // Keeps the first tokens of what `slot` holds, all of `prompt` that are whole units, without those of decoded tokens.
  void Keep(uint32_t slot, std::span<const int32_t> prompt);

 private:
  struct Kept {
    uint32_t slot;
    std::vector<int32_t> tokens;
  };
  void Use(size_t index);
  void Drop(size_t index);

  StepEngine& engine_;
  const uint32_t unit_;
  std::vector<uint32_t> free_;
  std::vector<Kept> kept_;  // the longest unused first
};

}  // namespace onecopy::serve
