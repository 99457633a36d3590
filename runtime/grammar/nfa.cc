#include "runtime/grammar/nfa.h"

#include <algorithm>
#include <map>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"

namespace onecopy::grammar {
namespace {

constexpr uint32_t kManyCopies = 16;

// Neither calls nor repetitions: a copy has the same states wherever it stands, and is over after few bytes.
bool IsPlainText(const Node& node) {
  if (node.kind == Node::Kind::kText || node.kind == Node::Kind::kClass) return true;
  if (node.kind != Node::Kind::kSequence && node.kind != Node::Kind::kChoice) return false;
  return std::ranges::all_of(node.parts, [](const Expr& part) { return IsPlainText(*part); });
}

class NfaBuilder {
 public:
  NfaBuilder(const Rule& rule, CompileBudget* budget) : rule_(rule), budget_(budget) {}

  Nfa Build() && {
    const uint32_t start = Add(), end = Add();
    Between(*rule_.body, start, end);
    states_[end].final = true;
    std::sort(copies_.begin(), copies_.end(),
              [](const Copies& a, const Copies& b) { return a.first < b.first; });
    return {std::move(states_), std::move(copies_)};
  }

 private:
  uint32_t Add() {
    if (budget_->states == 0)
      Fail(ErrorCode::kUsage,
           "the grammar is too large: in rule '{}' it passes {} states; use fewer or smaller repetitions, "
           "length limits or alternatives",
           Printable(rule_.name), kMaxNfaStates);
    --budget_->states;
    states_.emplace_back();
    return static_cast<uint32_t>(states_.size() - 1);
  }

  // Depth: that of the expression, which front ends limit.
  void Between(const Node& node, uint32_t from, uint32_t to) {
    switch (node.kind) {
      case Node::Kind::kText:
        return TextBetween(node.text, from, to);
      case Node::Kind::kClass:
        return ClassBetween(node.points, from, to);
      case Node::Kind::kSequence:
        return SequenceBetween(node.parts, from, to);
      case Node::Kind::kChoice:
        for (const Expr& part : node.parts) {
          // A state of its own, so that a loop inside one alternative is not entered from another.
          const uint32_t inner = Add();
          states_[from].free.push_back(inner);
          Between(*part, inner, to);
        }
        return;
      case Node::Kind::kRepeat:
        return RepeatBetween(node, from, to);
      case Node::Kind::kCall:
        states_[from].calls.push_back({node.rule, to});
        return;
      case Node::Kind::kGraph:
        return GraphBetween(node, from, to);
    }
  }

  void TextBetween(const std::string& text, uint32_t from, uint32_t to) {
    if (text.empty()) return states_[from].free.push_back(to);
    for (size_t i = 0; i < text.size(); ++i) {
      const uint32_t next = i + 1 == text.size() ? to : Add();
      const uint8_t byte = static_cast<uint8_t>(text[i]);
      states_[from].bytes.push_back({byte, byte, next});
      from = next;
    }
  }

  void ClassBetween(const CodePoints& points, uint32_t from, uint32_t to) {
    // Tails of sequences are shared: the state before each is known by what it reads.
    std::map<std::vector<uint8_t>, uint32_t> before;
    for (const Utf8Sequence& sequence : Utf8Sequences(points)) {
      uint32_t next = to;
      std::vector<uint8_t> tail;
      for (uint32_t i = sequence.bytes; i-- > 1;) {
        tail.push_back(sequence.lo[i]);
        tail.push_back(sequence.hi[i]);
        auto [at, is_new] = before.try_emplace(tail, 0);
        if (is_new) {
          at->second = Add();
          states_[at->second].bytes.push_back({sequence.lo[i], sequence.hi[i], next});
        }
        next = at->second;
      }
      states_[from].bytes.push_back({sequence.lo[0], sequence.hi[0], next});
    }
  }

  void SequenceBetween(const std::vector<Expr>& parts, uint32_t from, uint32_t to) {
    if (parts.empty()) return states_[from].free.push_back(to);
    for (size_t i = 0; i < parts.size(); ++i) {
      const uint32_t next = i + 1 == parts.size() ? to : Add();
      Between(*parts[i], from, next);
      from = next;
    }
  }

  void RepeatBetween(const Node& node, uint32_t from, uint32_t to) {
    const Node& part = *node.parts[0];
    uint32_t at = Add();
    states_[from].free.push_back(at);
    const uint32_t first = at + 1, count = node.max == kUnbounded ? node.min : node.max;
    for (uint32_t i = 0; i < node.min; ++i) {
      const uint32_t next = Add();
      Between(part, at, next);
      at = next;
    }
    if (node.max == kUnbounded) {
      const uint32_t loop = Add();
      states_[at].free.push_back(loop);
      Between(part, loop, loop);
      at = loop;
    } else {
      for (uint32_t i = node.min; i < node.max; ++i) {
        states_[at].free.push_back(to);
        const uint32_t next = Add();
        Between(part, at, next);
        at = next;
      }
    }
    states_[at].free.push_back(to);
    if (count >= kManyCopies && IsPlainText(part)) {
      // `at` is the first state of the last copy, or the loop's, which belongs to none and comes after all of them.
      const uint32_t stride = node.max == kUnbounded ? (at - first) / count : (at - first) / (count - 1);
      copies_.push_back({first, stride, count, node.min});
    }
  }

  void GraphBetween(const Node& node, uint32_t from, uint32_t to) {
    std::vector<uint32_t> places(node.num_places);
    for (uint32_t& place : places) place = Add();
    states_[from].free.push_back(places[0]);
    states_[places[1]].free.push_back(to);
    for (const Node::Arrow& arrow : node.arrows) {
      if (arrow.label == nullptr)
        states_[places[arrow.from]].free.push_back(places[arrow.to]);
      else
        Between(*arrow.label, places[arrow.from], places[arrow.to]);
    }
  }

  const Rule& rule_;
  CompileBudget* budget_;
  RuleStates states_;
  std::vector<Copies> copies_;
};

}  // namespace

Nfa BuildNfa(const Rule& rule, CompileBudget* budget) {
  return NfaBuilder(rule, budget).Build();
}

}  // namespace onecopy::grammar
