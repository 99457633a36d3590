// What a grammar is made of before it is compiled: expressions over Unicode characters, and rules that name them. Front
// ends (gbnf, json_schema) make these; compile.h turns them into an automaton over bytes. Nodes are immutable and
// may be shared, also between threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/grammar/code_points.h"

namespace onecopy::grammar {

struct Node;
using Expr = std::shared_ptr<const Node>;

inline constexpr uint32_t kUnbounded = UINT32_MAX;

struct Node {
  enum class Kind { kText, kClass, kSequence, kChoice, kRepeat, kCall, kGraph };
  // A step of a graph; without a label it reads nothing.
  struct Arrow {
    uint32_t from, to;
    Expr label;
  };

  Kind kind;
  std::string text;   // kText: these bytes
  CodePoints points;  // kClass: one of these characters
  std::vector<Expr>
      parts;  // kSequence: all in order; kChoice: one of them; kRepeat: the one that is repeated
  uint32_t min = 0, max = 0;  // kRepeat
  uint32_t rule = 0;          // kCall
  uint32_t num_places = 0;    // kGraph: every way from place 0 to place 1
  std::vector<Arrow> arrows;  // kGraph
};

Expr Text(std::string bytes);
Expr Class(CodePoints points);
Expr Sequence(std::vector<Expr> parts);
Expr Choice(std::vector<Expr> parts);  // of nothing: what cannot be written at all
Expr Repeat(Expr part, uint32_t min, uint32_t max);
inline Expr Optional(Expr part) {
  return Repeat(std::move(part), 0, 1);
}
Expr Call(uint32_t rule);
Expr Nothing();  // the empty text

// Builds a kGraph; places 0 and 1 are the beginning and the end.
class GraphBuilder {
 public:
  uint32_t AddPlace() { return num_places_++; }
  void Connect(uint32_t from, uint32_t to, Expr label = nullptr) {
    arrows_.push_back({from, to, std::move(label)});
  }
  size_t num_arrows() const { return arrows_.size(); }
  Expr Finish();

 private:
  uint32_t num_places_ = 2;
  std::vector<Node::Arrow> arrows_;
};

// Rules whose expression is a constant of this program: what is computed for their states holds in every grammar.
enum class CommonRule : uint32_t {
  kNone,
  kSpace,
  kString,
  kNumber,
  kInteger,
};

struct Rule {
  std::string name;
  Expr body;  // null until it is defined
  CommonRule common = CommonRule::kNone;
};
using Rules = std::vector<Rule>;

}  // namespace onecopy::grammar
