// The expanded form of latent attention against the absorbed one, which the goldens hold against transformers, over more
// positions than one block of the expanded form has, and in pieces.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "tests/parity/beside.h"
#include "tests/parity/golden_cases.h"

namespace onecopy::parity {
namespace {

struct FormsCase {
  const char* model;
  kernels::KvType kv_type = kernels::KvType::kF16;
};
class LatentForms : public ::testing::TestWithParam<FormsCase> {
 protected:
  static constexpr uint32_t kTokens = 900;

  // Logits of the last tokens of a prompt that is read in pieces that end there.
  static std::vector<float> Logits(bool cut_anywhere, int ranks, int threads,
                                   const std::vector<uint32_t>& ends) {
    constexpr uint32_t kRows = 300;
    Case c = CaseOf(GetParam().model);
    c.kv_tokens = 1024;
    c.cut_anywhere = cut_anywhere;
    std::vector<float> logits;
    const auto body = [&](exec::Engine& engine) {
      const auto vocab = static_cast<int32_t>(engine.spec().vocab_size());
      uint32_t position = 0;
      for (const uint32_t end : ends) {
        proto::Step step;
        step.set_prompt_tokens(end - position);
        for (; position < end; ++position) {
          if (position + kRows >= kTokens) step.add_logit_rows(static_cast<uint32_t>(step.tokens_size()));
          step.add_tokens(static_cast<int32_t>(7 * position * position + 3 * position) % vocab);
          step.add_slots(0);
          step.add_positions(position);
        }
        const auto rows = engine.Forward(step);
        logits.insert(logits.end(), rows.begin(), rows.end());
      }
    };
    WithModel(c, ranks, body, 0, GetParam().kv_type, threads);
    EXPECT_EQ(logits.size() % kRows, 0u);
    return logits;
  }
};

// In floats both forms are the same sums in another order.
TEST_P(LatentForms, AgreeInFloats) {
  setenv("ONECOPY_KERNELS", "ref", 1);
  const std::vector<float> absorbed = Logits(true, 1, 2, {kTokens}),
                           expanded = Logits(false, 1, 2, {kTokens});
  const Difference d = Compare(expanded, absorbed, absorbed.size() / 300);
  EXPECT_NE(std::memcmp(expanded.data(), absorbed.data(), absorbed.size() * sizeof(float)), 0)
      << "both took the same form";
  // Where latents are rounded to 8 bits, a last bit of a sum now and then decides how.
  EXPECT_LE(d.max, GetParam().kv_type == kernels::KvType::kQ8_0 ? 1e-2 : 2e-3);
}

TEST_P(LatentForms, PiecesRanksAndThreadsDoNotChangeTheBits) {
  for (const auto& entry : kernels::AllTables())
    if (entry.supported() && !entry.table().has_many()) setenv("ONECOPY_KERNELS", entry.name, 1);
  const std::vector<float> whole = Logits(false, 1, 1, {kTokens});
  const auto expect_the_same = [&](const std::vector<float>& got) {
    ASSERT_EQ(got.size(), whole.size());
    EXPECT_EQ(std::memcmp(got.data(), whole.data(), whole.size() * sizeof(float)), 0);
  };
  expect_the_same(Logits(false, 1, 3, {300, 605, kTokens}));
  expect_the_same(Logits(false, 3, 2, {512, kTokens}));
}

// A chunk of a prompt is expanded, and what is decoded beside it is absorbed, as in steps of their own.
TEST_P(LatentForms, StandInOneStep) {
  Case c = CaseOf(GetParam().model);
  c.kv_tokens = 1024;
  c.cut_anywhere = false;
  const auto body = [](exec::Engine& engine) {
    const BesideLogits logits =
        DecodeBesideAPrompt(engine, {.prompt = 600, .before = 70, .decoded = 3, .rows = 4});
    ASSERT_EQ(logits.together.size(), logits.apart.size());
    EXPECT_EQ(std::memcmp(logits.together.data(), logits.apart.data(), logits.apart.size() * sizeof(float)),
              0);
  };
  WithEachTable([&] {
    for (const int ranks : {1, 2}) WithModel(c, ranks, body, 0, GetParam().kv_type);
  });
}

INSTANTIATE_TEST_SUITE_P(All, LatentForms,
                         ::testing::Values(FormsCase{"deepseek_v3"}, FormsCase{"glm4_moe_lite_gguf"},
                                           FormsCase{"deepseek_v3", kernels::KvType::kQ8_0}),
                         [](const auto& info) {
                           return info.param.model +
                                  std::string(info.param.kv_type == kernels::KvType::kQ8_0 ? "_q8_0" : "");
                         });

}  // namespace
}  // namespace onecopy::parity
