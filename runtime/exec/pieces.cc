#include "runtime/exec/pieces.h"

#include <algorithm>
#include <numeric>

namespace onecopy::exec {

void Pieces::SetStep(const proto::Step& step) {
  slots_.clear();
  const auto n = static_cast<ptrdiff_t>(step.prompt_tokens());
  if (step.prompt_tokens() >= many_from_) slots_.assign(step.slots().begin(), step.slots().begin() + n);
  if (!slots_.empty())
    counts_.resize(std::max<size_t>(counts_.size(), *std::ranges::max_element(slots_) + 1));
  tokens_.resize(slots_.empty() ? 0 : static_cast<size_t>(step.tokens_size()));
  std::iota(tokens_.begin(), tokens_.end(), 0);
  Split(tokens_, &all_);
}

const RowSplit& Pieces::Of(std::span<const uint32_t> tokens) {
  Split(tokens, &some_);
  return some_;
}

void Pieces::Split(std::span<const uint32_t> tokens, RowSplit* split) {
  split->n_many = 0;
  split->order.clear();
  if (slots_.empty() || tokens.size() < many_from_) return;
  for (const uint32_t t : tokens)
    if (t < slots_.size()) ++counts_[slots_[t]];
  const auto is_many = [&](uint32_t token) {
    return token < slots_.size() && counts_[slots_[token]] >= many_from_;
  };
  split->n_many = static_cast<size_t>(std::ranges::count_if(tokens, is_many));
  if (split->n_many > 0 && split->n_many < tokens.size()) {
    split->order.resize(tokens.size());
    size_t many = 0, few = split->n_many;
    for (size_t i = 0; i < tokens.size(); ++i)
      split->order[is_many(tokens[i]) ? many++ : few++] = static_cast<uint32_t>(i);
  }
  for (const uint32_t t : tokens)
    if (t < slots_.size()) counts_[slots_[t]] = 0;
}

void Pieces::Order(Routing* routing) {
  const auto reorder = [](auto* values, auto* old, const ExpertGroup& group, const RowSplit& split) {
    if (values->empty()) return;
    old->assign(values->begin() + group.begin, values->begin() + group.end);
    for (size_t i = 0; i < old->size(); ++i) (*values)[group.begin + i] = (*old)[split.order[i]];
  };
  for (ExpertGroup& group : routing->groups) {
    const RowSplit& split = Of(std::span(routing->tokens).subspan(group.begin, group.size()));
    group.n_many = static_cast<uint32_t>(split.n_many);
    if (split.order.empty()) continue;
    reorder(&routing->tokens, &tokens_, group, split);
    reorder(&routing->weights, &weights_, group, split);
    reorder(&routing->input_weights, &weights_, group, split);
  }
}

}  // namespace onecopy::exec
