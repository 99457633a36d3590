// Prompts that are read in one step, and tokens that are decoded in it, have the bits that each has in a step of its own, by
// every table: also where the number of a prompt's tokens decides which kernel takes them.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/parity/beside.h"
#include "tests/parity/golden_cases.h"

namespace onecopy::parity {
namespace {

struct PiecesCase {
  std::string model;
  int ranks;
};
void PrintTo(const PiecesCase& c, std::ostream* os) {
  *os << c.model << ", " << c.ranks << " ranks";
}

class PromptsTogether : public ::testing::TestWithParam<PiecesCase> {};
INSTANTIATE_TEST_SUITE_P(All, PromptsTogether,
                         ::testing::Values(PiecesCase{"qwen3_moe_Q8_0", 1}, PiecesCase{"qwen3_moe_Q4_K_M", 2},
                                           PiecesCase{"mixtral_Q4_K_M", 1},
                                           PiecesCase{"deepseek_v3_Q4_K_M", 2},
                                           PiecesCase{"gpt_oss_gguf", 1}),
                         [](const auto& info) { return info.param.model; });

TEST_P(PromptsTogether, HaveTheBitsOfEachAlone) {
  WithEachTable([] {
    const auto body = [](exec::Engine& engine) {
      const size_t vocab = engine.spec().vocab_size();
      // Fewer tokens than any kernel for many wants, as many as are enough for some experts, and for most.
      const std::vector<uint32_t> lengths = {5, 70, 17};
      std::vector<std::vector<int32_t>> prompts;
      std::vector<std::vector<float>> alone;
      for (uint32_t slot = 0; slot < lengths.size(); ++slot) {
        std::vector<int32_t>& prompt = prompts.emplace_back(lengths[slot]);
        for (uint32_t i = 0; i < prompt.size(); ++i)
          prompt[i] = static_cast<int32_t>((11 * i * i + 5 * i + 100 * slot) % vocab);
        const auto logits = engine.Append(slot, 0, prompt, lengths[slot]);
        alone.emplace_back(logits.begin(), logits.end());
        engine.Release(slot);
      }
      proto::Step step;
      for (uint32_t slot = 0; slot < lengths.size(); ++slot) {
        for (uint32_t p = 0; p < lengths[slot]; ++p) {
          step.add_logit_rows(static_cast<uint32_t>(step.tokens_size()));
          step.add_tokens(prompts[slot][p]);
          step.add_slots(slot);
          step.add_positions(p);
        }
      }
      step.set_prompt_tokens(static_cast<uint32_t>(step.tokens_size()));
      const std::span<const float> together = engine.Forward(step);
      size_t row = 0;
      for (size_t slot = 0; slot < lengths.size(); ++slot) {
        size_t different = 0;
        for (uint32_t p = 0; p < lengths[slot]; ++p, ++row)
          different +=
              std::memcmp(&together[row * vocab], &alone[slot][p * vocab], vocab * sizeof(float)) != 0;
        EXPECT_EQ(different, 0u) << "of " << lengths[slot] << " tokens";
      }
    };
    WithModel(CaseOf(GetParam().model), GetParam().ranks, body);
  });
}

// Decoded tokens have the bits that they have without a prompt beside them, as many as they are, and the prompt has those that it
// has alone: also where latent attention takes one form for it and another for them.
TEST_P(PromptsTogether, LeaveDecodedTokensTheirBits) {
  WithEachTable([] {
    const auto body = [](exec::Engine& engine) {
      const size_t vocab = engine.spec().vocab_size();
      const BesideCase c = {.prompt = 100, .before = 9, .decoded = 20, .rows = 100};
      const BesideLogits logits = DecodeBesideAPrompt(engine, c);
      ASSERT_EQ(logits.together.size(), (c.prompt + c.decoded) * vocab);
      ASSERT_EQ(logits.apart.size(), logits.together.size());
      size_t different = 0;
      for (size_t row = 0; row < c.prompt + c.decoded; ++row)
        different += std::memcmp(&logits.together[row * vocab], &logits.apart[row * vocab],
                                 vocab * sizeof(float)) != 0;
      EXPECT_EQ(different, 0u) << "of " << c.prompt << " and " << c.decoded << " tokens";
    };
    WithModel(CaseOf(GetParam().model), GetParam().ranks, body);
  });
}

}  // namespace
}  // namespace onecopy::parity
