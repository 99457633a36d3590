// An engine without a model: the next token is a hash of all tokens before it, so a sequence's tokens are known, and wrong
// ones show where positions, pages or shared beginnings were mixed up. It keeps the books of a KV cache and complains
// (failures) where an engine would.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <numeric>
#include <vector>

#include "runtime/serve/step_engine.h"

namespace onecopy::serve::test {

inline int32_t HashOf(std::span<const int32_t> tokens, uint32_t vocab) {
  uint64_t hash = 1469598103934665603u;
  for (const int32_t t : tokens) hash = (hash ^ static_cast<uint64_t>(t + 1)) * 1099511628211u;
  return static_cast<int32_t>((hash >> 20) % vocab);
}

class FakeEngine : public StepEngine {
 public:
  struct Slot {
    std::vector<int32_t> tokens;
    std::vector<bool> by_prefill;  // how each was computed
    std::vector<std::shared_ptr<int>> pages;
  };

  explicit FakeEngine(const Limits& limits) : limits_(limits), slots_(limits.slots) {}

  std::span<const float> Forward(const proto::Step& step) override {
    ++steps;
    EXPECT_LE(step.prompt_tokens(), limits_.chunk_tokens);
    most_tokens = std::max(most_tokens, static_cast<size_t>(step.tokens_size()));
    std::vector<std::vector<int32_t>> before_row;
    for (int t = 0; t < step.tokens_size(); ++t) {
      Slot& slot = slots_.at(step.slots(t));
      EXPECT_EQ(step.positions(t), slot.tokens.size()) << "a position was left out or computed twice";
      slot.tokens.push_back(step.tokens(t));
      slot.by_prefill.push_back(static_cast<uint32_t>(t) < step.prompt_tokens());
      while (slot.pages.size() * limits_.page_tokens < slot.tokens.size()) {
        EXPECT_GT(free_pages(), 0u) << "the cache is full";
        slot.pages.push_back(std::make_shared<int>(0));
        all_pages_.push_back(slot.pages.back());
      }
      before_row.push_back(slot.tokens);
    }
    prefilled += step.prompt_tokens();
    decoded += static_cast<size_t>(step.tokens_size()) - step.prompt_tokens();
    logits_.assign(static_cast<size_t>(step.logit_rows_size()) * limits_.vocab, 0.0f);
    for (int r = 0; r < step.logit_rows_size(); ++r)
      logits_[static_cast<size_t>(r) * limits_.vocab +
              static_cast<size_t>(HashOf(before_row[step.logit_rows(r)], limits_.vocab))] = 9;
    if (on_step) on_step(step);
    return logits_;
  }
  void Release(uint32_t slot) override { slots_.at(slot) = {}; }
  void SharePrefix(uint32_t from, uint32_t to, uint32_t tokens) override {
    const Slot& source = slots_.at(from);
    Slot& target = slots_.at(to);
    EXPECT_TRUE(target.tokens.empty());
    EXPECT_EQ(tokens % limits_.page_tokens, 0u);
    ASSERT_LE(tokens, source.tokens.size());
    for (uint32_t i = 0; i < tokens; ++i) EXPECT_TRUE(source.by_prefill[i]) << "other bits than a prompt's";
    target.tokens.assign(source.tokens.begin(), source.tokens.begin() + tokens);
    target.by_prefill.assign(tokens, true);
    target.pages.assign(source.pages.begin(), source.pages.begin() + tokens / limits_.page_tokens);
    shared += tokens;
  }
  uint64_t free_pages() const override {
    uint64_t used = 0;
    for (const auto& page : all_pages_) used += page.expired() ? 0 : 1;
    return limits_.pages - used;
  }
  void ForEach(size_t n, const std::function<void(size_t)>& body) override {
    for (size_t i = 0; i < n; ++i) body(i);
  }
  Limits limits() const override { return limits_; }

  size_t steps = 0, prefilled = 0, decoded = 0, shared = 0, most_tokens = 0;
  std::function<void(const proto::Step&)> on_step;

 private:
  const Limits limits_;
  std::vector<Slot> slots_;
  std::vector<std::weak_ptr<int>> all_pages_;
  std::vector<float> logits_;
};

}  // namespace onecopy::serve::test
