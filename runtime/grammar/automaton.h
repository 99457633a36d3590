// Automaton: a compiled grammar, one finite automaton over bytes for each rule, whose edges read a byte or call a
// rule: a recursive transition network (Woods, "Transition Network Grammars for Natural Language Analysis", 1970).
// Immutable once made; safe to use from several threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/grammar/expression.h"

namespace onecopy::grammar {

struct ByteEdge {
  uint8_t lo, hi;  // any byte of these
  uint32_t to;
  bool operator==(const ByteEdge&) const = default;
};
struct CallEdge {
  uint32_t rule;
  uint32_t to;  // where the caller goes on
  bool operator==(const CallEdge&) const = default;
};

struct State {
  uint32_t first_byte_edge = 0, first_call = 0;  // its edges end where those of the next state begin
  uint32_t rule = 0;
  // A state that reads the same texts of up to `horizon` bytes, and its rule may end after the same of them: one that
  // stands elsewhere in a long repetition.
  uint32_t twin = 0, horizon = 0;
  bool final = false;
};

struct RuleInfo {
  uint32_t start = 0;     // its first state; its others follow
  uint32_t order = 0;     // greater than that of any rule that calls it before reading a byte
  bool nullable = false;  // may read nothing
  CommonRule common = CommonRule::kNone;
};

class Automaton {
 public:
  // Two states that no rule has: after the whole text, and where what follows is not known.
  static constexpr uint32_t kEndState = 0, kOpenState = 1;

  std::vector<State> states;         // one more than there are, so that the edges of the last end somewhere
  std::vector<ByteEdge> byte_edges;  // of a state: by lo; overlapping where the rule is not deterministic
  std::vector<CallEdge> calls;
  std::vector<RuleInfo> rules;
  uint32_t root = 0;

  std::span<const ByteEdge> ByteEdges(uint32_t state) const {
    return {byte_edges.data() + states[state].first_byte_edge,
            byte_edges.data() + states[state + 1].first_byte_edge};
  }
  std::span<const CallEdge> Calls(uint32_t state) const {
    return {calls.data() + states[state].first_call, calls.data() + states[state + 1].first_call};
  }
  bool HasCalls(uint32_t state) const { return states[state].first_call != states[state + 1].first_call; }
  // Nothing but the end of the rule follows.
  bool IsLast(uint32_t state) const {
    return states[state].final && !HasCalls(state) &&
           states[state].first_byte_edge == states[state + 1].first_byte_edge;
  }
};

// Every rule must have a body. Errors: kUsage when no text at all is in the grammar, a rule calls itself before it
// reads anything (left recursion), or the grammar is larger than kMaxNfaStates and kMaxCompileWork allow.
inline constexpr uint32_t kMaxNfaStates = 300'000;
inline constexpr uint64_t kMaxCompileWork = 3'000'000;  // edges looked at; some tenths of a second
Automaton Compile(const Rules& rules, uint32_t root);

}  // namespace onecopy::grammar
