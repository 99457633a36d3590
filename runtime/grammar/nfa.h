// One rule of a grammar as a finite automaton: first with steps that read nothing (Thompson's construction,
// "Regular expression search algorithm", 1968), then without them, deterministic where that stays small. Internal
// to compile.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/grammar/automaton.h"

namespace onecopy::grammar {

// What is left of the limits of automaton.h; counts down over all rules of a grammar.
struct CompileBudget {
  uint32_t states = kMaxNfaStates;
  uint64_t work = kMaxCompileWork;
};

struct RuleState {
  std::vector<ByteEdge> bytes;
  std::vector<CallEdge> calls;
  std::vector<uint32_t> free;      // steps that read nothing; empty after WithoutFreeSteps
  uint32_t twin = 0, horizon = 0;  // as in State
  bool final = false;
};
using RuleStates = std::vector<RuleState>;  // 0: the first

// The copies of what is repeated: alike, so that copy i has the states first + i × stride to first + (i + 1) ×
// stride - 1, of which the first is the one after it.
struct Copies {
  uint32_t first, stride, count;
  uint32_t min;  // after so many the repetition may end
};

struct Nfa {
  RuleStates states;
  std::vector<Copies> copies;  // by first
};

// Errors: kUsage, naming the rule, when the budget ends.
Nfa BuildNfa(const Rule& rule, CompileBudget* budget);
RuleStates WithoutFreeSteps(const Nfa& nfa, const Rule& rule, CompileBudget* budget);

}  // namespace onecopy::grammar
