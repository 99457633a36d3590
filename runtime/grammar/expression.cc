#include "runtime/grammar/expression.h"

namespace onecopy::grammar {
namespace {

std::shared_ptr<Node> NewNode(Node::Kind kind) {
  auto node = std::make_shared<Node>();
  node->kind = kind;
  return node;
}

}  // namespace

Expr Text(std::string bytes) {
  auto node = NewNode(Node::Kind::kText);
  node->text = std::move(bytes);
  return node;
}

Expr Class(CodePoints points) {
  auto node = NewNode(Node::Kind::kClass);
  node->points = std::move(points);
  return node;
}

Expr Sequence(std::vector<Expr> parts) {
  if (parts.size() == 1) return parts[0];
  auto node = NewNode(Node::Kind::kSequence);
  node->parts = std::move(parts);
  return node;
}

Expr Choice(std::vector<Expr> parts) {
  if (parts.size() == 1) return parts[0];
  auto node = NewNode(Node::Kind::kChoice);
  node->parts = std::move(parts);
  return node;
}

Expr Repeat(Expr part, uint32_t min, uint32_t max) {
  auto node = NewNode(Node::Kind::kRepeat);
  node->parts.push_back(std::move(part));
  node->min = min;
  node->max = max;
  return node;
}

Expr Call(uint32_t rule) {
  auto node = NewNode(Node::Kind::kCall);
  node->rule = rule;
  return node;
}

Expr Nothing() {
  return Text("");
}

Expr GraphBuilder::Finish() {
  auto node = NewNode(Node::Kind::kGraph);
  node->num_places = num_places_;
  node->arrows = std::move(arrows_);
  return node;
}

}  // namespace onecopy::grammar
