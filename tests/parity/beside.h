// A prompt and decoded tokens in one step, and the same in steps of their own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/parity/golden_cases.h"

namespace onecopy::parity {

struct BesideCase {
  uint32_t prompt;   // tokens of slot 0
  uint32_t before;   // that slot 1 has
  uint32_t decoded;  // that it gets
  uint32_t rows;     // logits of so many of the last tokens of each
};

struct BesideLogits {
  std::vector<float> apart, together;  // [rows of the prompt, of the decoded tokens][vocab]
};

inline BesideLogits DecodeBesideAPrompt(exec::Engine& engine, const BesideCase& c) {
  const auto vocab = engine.spec().vocab_size();
  std::vector<int32_t> tokens(std::max(c.prompt, c.before + c.decoded));
  for (uint32_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((11 * i * i + 5 * i) % vocab);
  const auto add = [&](uint32_t slot, uint32_t begin, uint32_t end, proto::Step* step) {
    for (uint32_t p = begin; p < end; ++p) {
      if (p + c.rows >= end) step->add_logit_rows(static_cast<uint32_t>(step->tokens_size()));
      step->add_tokens(tokens[p]);
      step->add_slots(slot);
      step->add_positions(p);
    }
  };
  const auto run = [&](bool reads, bool decodes) {
    engine.Append(1, 0, std::span(tokens).first(c.before));
    proto::Step step;
    if (reads) add(0, 0, c.prompt, &step);
    step.set_prompt_tokens(static_cast<uint32_t>(step.tokens_size()));
    if (decodes) add(1, c.before, c.before + c.decoded, &step);
    const std::span<const float> logits = engine.Forward(step);
    engine.Release(0);
    engine.Release(1);
    return std::vector<float>(logits.begin(), logits.end());
  };
  std::vector<float> apart = run(true, false);
  const std::vector<float> decoded = run(false, true);
  apart.insert(apart.end(), decoded.begin(), decoded.end());
  return {std::move(apart), run(true, true)};
}

}  // namespace onecopy::parity
