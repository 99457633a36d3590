// Steps: what stands beside a sequence, slots that begin again, repeated runs, and where a step's time goes.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "tests/parity/golden_cases.h"

namespace onecopy::parity {
namespace {

class Sequences : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Sequences, ::testing::Values("qwen3_moe", "qwen3_next", "qwen3_5_moe_gguf"));

// Prompts in pieces of odd sizes, all three in every step: each sequence's logits are those of its prompt alone.
TEST_P(Sequences, ChunksAndNeighboursDoNotChangeOne) {
  setenv("ONECOPY_KERNELS", "ref", 1);
  const Case& c = CaseOf(GetParam());
  const test::Golden golden(c.folder);
  auto prompts = golden.prompts();
  prompts.resize(3);  // slots
  WithModel(c, 3, [&](exec::Engine& engine) {
    const size_t vocab = engine.spec().vocab_size();
    const uint32_t pieces[] = {1, 5, 13};
    std::vector<uint32_t> done(prompts.size());
    for (size_t finished = 0; finished < prompts.size();) {
      proto::Step step;
      std::vector<size_t> ended;
      for (uint32_t slot = 0; slot < prompts.size(); ++slot) {
        const auto n = static_cast<uint32_t>(prompts[slot].size());
        if (done[slot] == n) continue;
        for (uint32_t i = 0; i < pieces[slot] && done[slot] < n; ++i, ++done[slot]) {
          step.add_tokens(prompts[slot][done[slot]]);
          step.add_slots(slot);
          step.add_positions(done[slot]);
        }
        if (done[slot] < n) continue;
        step.add_logit_rows(static_cast<uint32_t>(step.tokens_size() - 1));
        ended.push_back(slot);
      }
      const auto logits = engine.Forward(step);
      ASSERT_EQ(logits.size(), ended.size() * vocab);
      for (size_t i = 0; i < ended.size(); ++i) {
        const auto want = golden.Floats("logits_" + std::to_string(ended[i]));
        const Difference d = Compare(logits.subspan(i * vocab, vocab), std::span(want).last(vocab), vocab);
        EXPECT_LE(d.max, golden.atol()) << "prompt " << ended[i];
      }
      finished += ended.size();
    }
  });
}

struct CompanyCase {
  const char* model;
  int ranks;
  kernels::KvType kv_type = kernels::KvType::kF16;
};
constexpr auto kQ8 = kernels::KvType::kQ8_0;
class Company : public ::testing::TestWithParam<CompanyCase> {};
INSTANTIATE_TEST_SUITE_P(
    All, Company,
    ::testing::Values(CompanyCase{"qwen3_moe", 1}, CompanyCase{"qwen3_moe", 2},
                      CompanyCase{"qwen3_moe_Q4_K_M", 2}, CompanyCase{"deepseek_v3_absorbed", 2},
                      CompanyCase{"deepseek_v3_by_position", 2}, CompanyCase{"gpt_oss", 1},
                      CompanyCase{"llama4_gguf", 2}, CompanyCase{"qwen3_moe", 2, kQ8},
                      CompanyCase{"deepseek_v3_absorbed", 2, kQ8},
                      CompanyCase{"deepseek_v3_by_position", 2, kQ8}, CompanyCase{"gpt_oss", 1, kQ8},
                      CompanyCase{"llama4_gguf", 2, kQ8}),
    [](const auto& info) {
      return info.param.model + ("_" + std::to_string(info.param.ranks)) +
             (info.param.kv_type == kQ8 ? "_q8_0" : "");
    });

// A sequence has the same bits alone and in company: beside others that decode or are read, in other pieces, with the
// beginning of its prompt taken from another sequence, and where tokens are decoded again, several at once.
TEST_P(Company, DoesNotChangeTheBits) {
  // The best table whose kernel does not depend on the number of tokens of a prompt.
  for (const auto& entry : kernels::AllTables())
    if (entry.supported() && !entry.table().has_many()) setenv("ONECOPY_KERNELS", entry.name, 1);
  const auto body = [&](exec::Engine& engine) {
    const auto vocab = static_cast<int32_t>(engine.spec().vocab_size());
    constexpr uint32_t kPage = exec::KvCache::kPageTokens, kPrompt = 2 * kPage + 9, kDecoded = 5;
    std::vector<int32_t> tokens(kPrompt + kDecoded);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(7 * i * i + 3 * i) % vocab;
    const auto add = [&](proto::Step& step, uint32_t slot, uint32_t from, uint32_t to) {
      for (uint32_t p = from; p < to; ++p) {
        step.add_tokens(tokens[p]);
        step.add_slots(slot);
        step.add_positions(p);
      }
    };
    std::vector<float> bits;
    const auto take = [&](std::span<const float> rows, size_t n) {
      bits.insert(bits.end(), rows.begin(),
                  rows.begin() + static_cast<ptrdiff_t>(n * static_cast<size_t>(vocab)));
    };
    const auto last_row = [](proto::Step& step) {
      step.add_logit_rows(static_cast<uint32_t>(step.tokens_size() - 1));
    };
    take(engine.Append(0, 0, std::span(tokens).first(kPrompt)), 1);
    for (uint32_t p = kPrompt; p < tokens.size(); ++p) {
      proto::Step step;
      add(step, 0, p, p + 1);
      last_row(step);
      take(engine.Forward(step), 1);
    }
    const std::vector<float> alone = bits;
    bits.clear();

    engine.SharePrefix(0, 1, 2 * kPage);
    proto::Step prompt;
    add(prompt, 1, 2 * kPage, kPrompt);
    last_row(prompt);
    add(prompt, 2, 0, 50);
    prompt.set_prompt_tokens(static_cast<uint32_t>(prompt.tokens_size()));
    take(engine.Forward(prompt), 1);
    engine.Release(0);  // its pages live on in slot 1
    proto::Step decode;
    add(decode, 0, 0, 20);  // another prompt is read beside
    decode.set_prompt_tokens(20);
    for (uint32_t p = kPrompt; p < tokens.size(); ++p) {
      add(decode, 1, p, p + 1);
      last_row(decode);
      add(decode, 2, 50 + p - kPrompt, 51 + p - kPrompt);
    }
    take(engine.Forward(decode), kDecoded);
    ASSERT_EQ(bits.size(), alone.size());
    for (size_t row = 0; row <= kDecoded; ++row)
      EXPECT_EQ(std::memcmp(&bits[row * static_cast<size_t>(vocab)], &alone[row * static_cast<size_t>(vocab)],
                            static_cast<size_t>(vocab) * sizeof(float)),
                0)
          << "row " << row;
  };
  WithModel(CaseOf(GetParam().model), GetParam().ranks, body, 0, GetParam().kv_type);
}

// A state goes forward only: a slot begins again at position 0, whether it was released or not, and nothing else goes back.
TEST(Decoder, AStateBeginsAgainOrGoesOn) {
  setenv("ONECOPY_KERNELS", "ref", 1);
  for (const int ranks : {1, 3}) {
    const Case& c = CaseOf("qwen3_next");
    const test::Golden golden(c.folder);
    WithModel(c, ranks, [&](exec::Engine& engine) {
      const auto prompt = golden.prompts()[1];
      const auto logits = engine.Append(0, 0, prompt);
      const std::vector<float> want(logits.begin(), logits.end());
      const auto expect_the_same = [&](uint32_t slot) {
        const auto got = engine.Append(slot, 0, prompt);
        EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size_bytes()), 0);
      };
      expect_the_same(0);  // over what is there
      engine.Release(0);
      expect_the_same(0);
      EXPECT_EQ(engine.length(0), prompt.size());
      expect_the_same(2);
      // A guess cannot be tried again, nor a position left out; what was refused has changed nothing.
      const auto n = static_cast<uint32_t>(prompt.size());
      for (const uint32_t position : {n - 1, n + 1, 1u})
        EXPECT_THROW(engine.Append(0, position, std::vector<int32_t>{1}), Error) << position;
      const auto after = engine.Append(0, n, std::vector<int32_t>{7});
      const std::vector<float> next(after.begin(), after.end());
      const auto other = engine.Append(2, n, std::vector<int32_t>{7});
      EXPECT_EQ(std::memcmp(next.data(), other.data(), other.size_bytes()), 0);
    });
  }
}

TEST(Decoder, TheSameRankCountGivesTheSameBitsTenTimes) {
  unsetenv("ONECOPY_KERNELS");
  const Case& c = kCases[3];
  const test::Golden golden(c.folder);
  for (int ranks : {1, 3, 6}) {
    std::vector<float> first;
    for (int run = 0; run < 10; ++run) {
      WithModel(c, ranks, [&](exec::Engine& engine) {
        const auto logits = engine.Append(0, 0, golden.prompts()[2], 4);
        if (run == 0) first.assign(logits.begin(), logits.end());
        ASSERT_EQ(std::memcmp(first.data(), logits.data(), logits.size_bytes()), 0)
            << ranks << " ranks, run " << run << " differs from run 0";
      });
    }
  }
}

// All of a step's time belongs to a phase, and every rank counts its own.
TEST(Decoder, StepTimesAreTheTimeOfTheSteps) {
  unsetenv("ONECOPY_KERNELS");
  const test::Golden golden(kGoldens + "qwen3_moe");
  for (int ranks : {1, 3}) {
    WithModel(kCases[0], ranks, [&](exec::Engine& engine) {
      engine.Append(0, 0, golden.prompts()[2]);
      engine.Release(0);
      engine.ResetTimes();
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < 20; ++i) {
        engine.Append(0, 0, golden.prompts()[2]);
        engine.Release(0);
      }
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      const exec::StepTimes& times = engine.times();
      EXPECT_EQ(times.steps, 20u);
      EXPECT_EQ(times.tokens, 20 * golden.prompts()[2].size());
      for (const auto phase : {exec::Phase::kAttentionMatmul, exec::Phase::kAttention, exec::Phase::kRouter,
                               exec::Phase::kExperts, exec::Phase::kHead, exec::Phase::kRest})
        EXPECT_GT(times[phase], 0) << exec::kPhaseNames[static_cast<size_t>(phase)];
      if (ranks > 1) {
        EXPECT_GT(times[exec::Phase::kCollective], 0);
      }
      EXPECT_LE(times.total_seconds(), seconds);
      // What rank 0 does between steps: it tells the others.
      if (ranks == 1) {
        EXPECT_GE(times.total_seconds(), 0.5 * seconds);
      }
      EXPECT_LE(times.wait_seconds, times[exec::Phase::kCollective] + 1e-3);
    });
  }
}

}  // namespace
}  // namespace onecopy::parity
