// Subset construction (Rabin and Scott, 1959) over bytes and calls. A set that would grow without measure, as of
// (a|b)*a(a|b){20}, is left nondeterministic: the matcher follows several states at once.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/grammar/nfa.h"

namespace onecopy::grammar {
namespace {

constexpr uint32_t kShortHorizon = 4;  // below, a twin is of no use

using StateSet = std::vector<uint32_t>;  // sorted

struct StateSetHash {
  size_t operator()(const StateSet& set) const {
    uint64_t hash = set.size();
    for (const uint32_t state : set) hash = (hash ^ state) * 0x9E3779B97F4A7C15u + (hash >> 29);
    return hash;
  }
};

class Determinizer {
 public:
  Determinizer(const Nfa& nfa, const Rule& rule, CompileBudget* budget)
      : nfa_(nfa.states), copies_(nfa.copies), rule_(rule), budget_(budget), seen_(nfa.states.size(), 0) {}

  // Empty where it would have too many states.
  RuleStates Deterministic() {
    const size_t max_states = nfa_.size() * 4 + 64;
    const uint64_t max_work = nfa_.size() * 64 + 100'000;
    RuleStates out;
    std::vector<const StateSet*> sets;
    std::unordered_map<StateSet, uint32_t, StateSetHash> ids;
    const auto id_of = [&](StateSet set) {
      const auto [at, is_new] = ids.try_emplace(std::move(set), static_cast<uint32_t>(out.size()));
      if (is_new) {
        out.emplace_back();
        sets.push_back(&at->first);
      }
      return at->second;
    };
    id_of(Closure({0}));
    const uint64_t work_before = budget_->work;
    for (uint32_t i = 0; i < out.size(); ++i) {
      if (out.size() > max_states || work_before - budget_->work > max_work) return {};
      const StateSet& set = *sets[i];
      bool final = false;
      std::map<uint32_t, StateSet> by_rule;
      for (const uint32_t state : set) {
        final |= nfa_[state].final;
        for (const CallEdge& call : nfa_[state].calls) by_rule[call.rule].push_back(call.to);
      }
      std::vector<CallEdge> calls;
      for (auto& [rule, targets] : by_rule) calls.push_back({rule, id_of(Closure(targets))});
      std::vector<ByteEdge> bytes;
      for (auto& [range, targets] : Split(set)) {
        const uint32_t to = id_of(Closure(targets));
        if (!bytes.empty() && bytes.back().to == to && bytes.back().hi + 1 == range.first)
          bytes.back().hi = range.second;
        else
          bytes.push_back({range.first, range.second, to});
      }
      out[i].bytes = std::move(bytes);
      out[i].calls = std::move(calls);
      out[i].final = final;
    }
    for (uint32_t i = 0; i < out.size(); ++i) {
      out[i].twin = i;
      const auto [twin, horizon] = TwinOf(*sets[i]);
      if (horizon < kShortHorizon || twin == *sets[i]) continue;
      if (const auto at = ids.find(twin); at != ids.end()) {
        out[i].twin = at->second;
        out[i].horizon = horizon;
      }
    }
    return out;
  }

  RuleStates OnlyWithoutFreeSteps() {
    RuleStates out(nfa_.size());
    for (uint32_t i = 0; i < nfa_.size(); ++i) {
      out[i].twin = i;
      for (const uint32_t state : Closure({i})) {
        const RuleState& from = nfa_[state];
        Spend(from.bytes.size() + from.calls.size());
        out[i].final |= from.final;
        out[i].bytes.insert(out[i].bytes.end(), from.bytes.begin(), from.bytes.end());
        out[i].calls.insert(out[i].calls.end(), from.calls.begin(), from.calls.end());
      }
      std::sort(out[i].bytes.begin(), out[i].bytes.end(),
                [](const ByteEdge& a, const ByteEdge& b) { return a.lo < b.lo; });
    }
    return out;
  }

 private:
  // The same set in an earlier copy of a repetition, and for how many bytes what both read is the same: each byte
  // goes at most one copy further, and copies differ only in whether the repetition may end or go on after them.
  std::pair<StateSet, uint32_t> TwinOf(const StateSet& set) const {
    const Copies* copies = nullptr;
    uint32_t least = UINT32_MAX, greatest = 0;
    for (const uint32_t state : set) {
      auto at = std::upper_bound(copies_.begin(), copies_.end(), state,
                                 [](uint32_t value, const Copies& c) { return value < c.first; });
      if (at == copies_.begin() || state >= (--at)->first + at->stride * at->count) continue;
      if (copies != nullptr && copies != &*at) return {};  // of two repetitions
      copies = &*at;
      const uint32_t copy = (state - at->first) / at->stride;
      least = std::min(least, copy);
      greatest = std::max(greatest, copy);
    }
    if (copies == nullptr || greatest > least + 1) return {};
    // Copies before number min - 1 cannot be the last, those from there on can.
    const bool may_end = least >= copies->min;
    const uint32_t target = may_end ? copies->min : 0, end = may_end ? copies->count : copies->min;
    if (greatest + 2 >= end) return {};
    StateSet twin = set;
    for (uint32_t& state : twin)
      if (state >= copies->first && state < copies->first + copies->stride * copies->count)
        state -= (least - target) * copies->stride;
    std::sort(twin.begin(), twin.end());
    return {std::move(twin), end - 2 - greatest};
  }

  using ByteRange = std::pair<uint8_t, uint8_t>;

  void Spend(uint64_t work) {
    if (work > budget_->work)
      Fail(ErrorCode::kUsage,
           "the grammar takes too much work to compile: rule '{}' passes {} steps; use fewer repetitions "
           "inside repetitions and fewer alternatives that begin alike",
           Printable(rule_.name), kMaxCompileWork);
    budget_->work -= work;
  }

  // The states that matter (they read, call or end) which `from` reach by reading nothing.
  StateSet Closure(const StateSet& from) {
    ++round_;
    StateSet todo, out;
    for (const uint32_t state : from)
      if (std::exchange(seen_[state], round_) != round_) todo.push_back(state);
    while (!todo.empty()) {
      const uint32_t state = todo.back();
      todo.pop_back();
      const RuleState& at = nfa_[state];
      Spend(1 + at.free.size());
      if (at.final || !at.bytes.empty() || !at.calls.empty()) out.push_back(state);
      for (const uint32_t next : at.free)
        if (std::exchange(seen_[next], round_) != round_) todo.push_back(next);
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  // Disjoint ranges of bytes in order, each with all states that it leads to.
  std::vector<std::pair<ByteRange, StateSet>> Split(const StateSet& set) {
    std::vector<ByteEdge> edges;
    for (const uint32_t state : set)
      edges.insert(edges.end(), nfa_[state].bytes.begin(), nfa_[state].bytes.end());
    std::sort(edges.begin(), edges.end(), [](const ByteEdge& a, const ByteEdge& b) { return a.lo < b.lo; });
    std::vector<bool> cut(257);
    for (const ByteEdge& edge : edges) cut[edge.lo] = cut[edge.hi + 1] = true;
    std::vector<std::pair<ByteRange, StateSet>> out;
    StateSet active;  // indexes of edges that may still hold
    size_t next = 0;
    for (uint32_t lo = 0; lo < 256;) {
      uint32_t end = lo + 1;
      while (end < 256 && !cut[end]) ++end;
      for (; next < edges.size() && edges[next].lo <= lo; ++next)
        active.push_back(static_cast<uint32_t>(next));
      std::erase_if(active, [&](uint32_t edge) { return edges[edge].hi < lo; });
      Spend(active.size() + 1);
      if (!active.empty()) {
        StateSet targets;
        for (const uint32_t edge : active) targets.push_back(edges[edge].to);
        out.push_back(
            {ByteRange{static_cast<uint8_t>(lo), static_cast<uint8_t>(end - 1)}, std::move(targets)});
      }
      lo = end;
    }
    return out;
  }

  const RuleStates& nfa_;
  const std::vector<Copies>& copies_;
  const Rule& rule_;
  CompileBudget* budget_;
  std::vector<uint32_t> seen_;  // by state: the last round that saw it
  uint32_t round_ = 0;
};

}  // namespace

RuleStates WithoutFreeSteps(const Nfa& nfa, const Rule& rule, CompileBudget* budget) {
  Determinizer determinizer(nfa, rule, budget);
  RuleStates out = determinizer.Deterministic();
  return out.empty() ? determinizer.OnlyWithoutFreeSteps() : out;
}

}  // namespace onecopy::grammar
