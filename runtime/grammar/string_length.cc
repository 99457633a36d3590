// A pattern and a length together: the product of the pattern's automaton with a counter.
#include <map>

#include "runtime/base/error.h"
#include "runtime/grammar/nfa.h"
#include "runtime/grammar/pattern.h"

namespace onecopy::grammar {
namespace {

constexpr uint32_t kMaxProduct = 50'000;  // arrows

// The expression with each class as a call, so that the automaton steps by characters, not bytes.
Expr ClassesAsCalls(const Expr& characters, std::vector<Expr>* classes) {
  if (characters->kind == Node::Kind::kClass) {
    for (uint32_t i = 0; i < classes->size(); ++i)
      if ((*classes)[i]->points.ranges() == characters->points.ranges()) return Call(i);
    classes->push_back(characters);
    return Call(static_cast<uint32_t>(classes->size() - 1));
  }
  auto node = std::make_shared<Node>(*characters);
  for (Expr& part : node->parts) part = ClassesAsCalls(part, classes);
  return node;
}

}  // namespace

Expr WithLength(const Expr& characters, uint32_t min, uint32_t max) {
  std::vector<Expr> classes;
  const Rule rule{"pattern", ClassesAsCalls(characters, &classes)};
  CompileBudget budget;
  const RuleStates states = WithoutFreeSteps(BuildNfa(rule, &budget), rule, &budget);
  // Beyond the greatest length that matters the count stands still.
  const uint32_t last = max == kUnbounded ? min : max;
  GraphBuilder graph;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> places;  // state, length
  std::vector<std::pair<uint32_t, uint32_t>> todo = {{0, 0}};
  places[{0, 0}] = 0;
  while (!todo.empty()) {
    const auto [state, length] = todo.back();
    todo.pop_back();
    const uint32_t place = places[{state, length}];
    if (states[state].final && length >= min) graph.Connect(place, 1);
    if (length == last && max != kUnbounded) continue;
    for (const CallEdge& edge : states[state].calls) {
      const std::pair<uint32_t, uint32_t> next{edge.to, std::min(length + 1, last)};
      auto at = places.find(next);
      if (at == places.end()) {
        at = places.emplace(next, graph.AddPlace()).first;
        todo.push_back(next);
      }
      graph.Connect(place, at->second, classes[edge.rule]);
      if (graph.num_arrows() > kMaxProduct)
        Fail(ErrorCode::kUsage,
             "a pattern with these length limits has more than {} steps; leave out one of them", kMaxProduct);
    }
  }
  return graph.Finish();
}

}  // namespace onecopy::grammar
