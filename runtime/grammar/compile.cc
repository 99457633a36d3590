// From rules to the automaton: joins the rules' automata, drops what leads nowhere, and orders the rules.
#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/printable.h"
#include "runtime/grammar/nfa.h"

namespace onecopy::grammar {
namespace {

class Compiler {
 public:
  Compiler(const Rules& rules, uint32_t root) : rules_(rules) { out_.root = root; }

  Automaton Run() && {
    Join();
    FindProductive();
    if (!productive_[out_.rules[out_.root].start])
      Fail(ErrorCode::kUsage, "no finite text satisfies the grammar: rule '{}' can never end",
           Printable(rules_[out_.root].name));
    DropUnproductive();
    FindNullable();
    OrderRules();
    Flatten();
    return std::move(out_);
  }

 private:
  // All states in one list, numbered through; the two that no rule has come first.
  void Join() {
    CompileBudget budget;
    all_.resize(2);
    all_[Automaton::kEndState].final = true;
    all_[Automaton::kOpenState].twin = Automaton::kOpenState;
    rule_of_.assign(2, 0);
    out_.rules.resize(rules_.size());
    for (uint32_t rule = 0; rule < rules_.size(); ++rule) {
      ONECOPY_CHECK(rules_[rule].body != nullptr);
      RuleStates states = WithoutFreeSteps(BuildNfa(rules_[rule], &budget), rules_[rule], &budget);
      const uint32_t base = static_cast<uint32_t>(all_.size());
      out_.rules[rule].start = base;
      out_.rules[rule].common = rules_[rule].common;
      for (RuleState& state : states) {
        for (ByteEdge& edge : state.bytes) edge.to += base;
        for (CallEdge& call : state.calls) call.to += base;
        state.twin += base;
        all_.push_back(std::move(state));
        rule_of_.push_back(rule);
      }
    }
  }

  // A state is productive when some text leads from it to the end of its rule.
  void FindProductive() {
    struct Source {
      uint32_t state;
      int64_t rule;  // -1: reads a byte
    };
    std::vector<std::vector<Source>> sources(all_.size());
    std::vector<std::vector<uint32_t>> waiting(rules_.size());  // for a rule to be productive
    std::vector<int64_t> rule_of_start(all_.size(), -1);
    productive_.assign(all_.size(), false);
    std::vector<uint32_t> todo;
    const auto mark = [&](uint32_t state) {
      if (productive_[state]) return;
      productive_[state] = true;
      todo.push_back(state);
    };
    for (uint32_t rule = 0; rule < rules_.size(); ++rule) rule_of_start[out_.rules[rule].start] = rule;
    for (uint32_t state = 0; state < all_.size(); ++state) {
      for (const ByteEdge& edge : all_[state].bytes) sources[edge.to].push_back({state, -1});
      for (const CallEdge& call : all_[state].calls) sources[call.to].push_back({state, call.rule});
      if (all_[state].final) mark(state);
    }
    while (!todo.empty()) {
      const uint32_t state = todo.back();
      todo.pop_back();
      for (const Source& source : sources[state]) {
        if (source.rule < 0 || productive_[out_.rules[source.rule].start])
          mark(source.state);
        else
          waiting[source.rule].push_back(source.state);
      }
      if (rule_of_start[state] >= 0)
        for (const uint32_t caller : std::exchange(waiting[rule_of_start[state]], {})) mark(caller);
    }
  }

  void DropUnproductive() {
    for (RuleState& state : all_) {
      std::erase_if(state.bytes, [&](const ByteEdge& edge) { return !productive_[edge.to]; });
      std::erase_if(state.calls, [&](const CallEdge& call) {
        return !productive_[call.to] || !productive_[out_.rules[call.rule].start];
      });
    }
  }

  // Sets early_: the states that a rule may be in before it reads anything; and with it which may read nothing.
  void FindNullable() {
    early_.assign(all_.size(), false);
    std::vector<std::vector<uint32_t>> waiting(rules_.size());
    std::vector<uint32_t> todo;
    const auto mark = [&](uint32_t state) {
      if (early_[state]) return;
      early_[state] = true;
      todo.push_back(state);
    };
    for (const RuleInfo& rule : out_.rules) mark(rule.start);
    while (!todo.empty()) {
      const uint32_t state = todo.back();
      todo.pop_back();
      for (const CallEdge& call : all_[state].calls) {
        if (out_.rules[call.rule].nullable)
          mark(call.to);
        else
          waiting[call.rule].push_back(call.to);
      }
      if (!all_[state].final) continue;
      const uint32_t rule = rule_of_[state];
      out_.rules[rule].nullable = true;
      for (const uint32_t next : std::exchange(waiting[rule], {})) mark(next);
    }
  }

  // Depth-first over "calls before it reads"; a rule comes before all that it calls so.
  void OrderRules() {
    std::vector<std::vector<uint32_t>> callees(rules_.size());
    for (uint32_t state = 2; state < all_.size(); ++state) {
      if (!early_[state]) continue;
      for (const CallEdge& call : all_[state].calls) callees[rule_of_[state]].push_back(call.rule);
    }
    enum class Mark : uint8_t { kNew, kOpen, kDone };
    std::vector<Mark> marks(rules_.size(), Mark::kNew);
    std::vector<std::pair<uint32_t, size_t>> path;  // rule, next of its callees
    uint32_t order = static_cast<uint32_t>(rules_.size());
    for (uint32_t first = 0; first < rules_.size(); ++first) {
      if (marks[first] != Mark::kNew) continue;
      marks[first] = Mark::kOpen;
      path.assign(1, {first, 0});
      while (!path.empty()) {
        const uint32_t rule = path.back().first;
        if (path.back().second == callees[rule].size()) {
          marks[rule] = Mark::kDone;
          out_.rules[rule].order = --order;
          path.pop_back();
          continue;
        }
        const uint32_t callee = callees[rule][path.back().second++];
        if (marks[callee] == Mark::kOpen)
          Fail(
              ErrorCode::kUsage,
              "rule '{}' is left-recursive: it calls itself, by way of '{}', before it reads anything; write "
              "the recursion on the right, or use * or +",
              Printable(rules_[callee].name), Printable(rules_[rule].name));
        if (marks[callee] == Mark::kDone) continue;
        marks[callee] = Mark::kOpen;
        path.push_back({callee, 0});
      }
    }
  }

  void Flatten() {
    out_.states.reserve(all_.size() + 1);
    for (uint32_t state = 0; state <= all_.size(); ++state) {
      State& to = out_.states.emplace_back();
      to.first_byte_edge = static_cast<uint32_t>(out_.byte_edges.size());
      to.first_call = static_cast<uint32_t>(out_.calls.size());
      if (state == all_.size()) break;
      const RuleState& from = all_[state];
      to.rule = rule_of_[state];
      to.final = from.final;
      to.twin = from.twin;
      to.horizon = from.horizon;
      out_.byte_edges.insert(out_.byte_edges.end(), from.bytes.begin(), from.bytes.end());
      out_.calls.insert(out_.calls.end(), from.calls.begin(), from.calls.end());
    }
  }

  const Rules& rules_;
  Automaton out_;
  RuleStates all_;
  std::vector<uint32_t> rule_of_;         // by state
  std::vector<bool> productive_, early_;  // by state
};

}  // namespace

Automaton Compile(const Rules& rules, uint32_t root) {
  return Compiler(rules, root).Run();
}

}  // namespace onecopy::grammar
