// What does not change a bit of the logits: the number of ranks, where keys and values lie by heads, and the number of threads.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "tests/parity/golden_cases.h"

namespace onecopy::parity {
namespace {

// Logits of all tokens of a prompt, and of some that are decoded after it.
std::vector<float> LogitsOf(const Case& c, int ranks, int threads, const std::vector<int32_t>& prompt,
                            bool quick_sums = false) {
  constexpr size_t kDecoded = 4;
  std::vector<float> all;
  WithModel(
      c, ranks,
      [&](exec::Engine& engine) {
        const auto take = [&](std::span<const float> rows) {
          all.insert(all.end(), rows.begin(), rows.end());
        };
        const auto n = static_cast<uint32_t>(prompt.size());
        take(engine.Append(0, 0, prompt, n));
        for (uint32_t i = 0; i < kDecoded; ++i) {
          proto::Step step;
          step.add_tokens(prompt[i]);
          step.add_slots(0);
          step.add_positions(n + i);
          step.add_logit_rows(0);
          take(engine.Forward(step));
        }
      },
      0, kernels::KvType::kF16, threads, quick_sums);
  return all;
}

void ExpectTheSameBits(const std::vector<float>& got, const std::vector<float>& want,
                       const std::string& where) {
  ASSERT_EQ(got.size(), want.size()) << where;
  size_t different = 0, first = got.size();
  for (size_t i = got.size(); i-- > 0;) {
    if (std::memcmp(&got[i], &want[i], sizeof(float)) == 0) continue;
    ++different;
    first = i;
  }
  EXPECT_EQ(different, 0u) << where << ": of " << got.size() << " logits, the first at " << first;
}

class Determinism : public ::testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(All, Determinism, ::testing::Range(size_t{0}, std::size(kCases)),
                         [](const auto& info) { return std::string(kCases[info.param].name); });

TEST_P(Determinism, AnyNumberOfRanksAndThreadsGivesTheSameBits) {
  const Case& c = kCases[GetParam()];
  if (c.kv_tokens == kManyPositions)
    GTEST_SKIP() << "partial softmaxes of ranks are merged, and rounded, where latents are cut by position";
  unsetenv("ONECOPY_KERNELS");
  const auto prompt = test::Golden(c.folder).prompts().back();
  const std::vector<float> want = LogitsOf(c, 1, 1, prompt);
  for (const int ranks : {2, 3, 7})
    ExpectTheSameBits(LogitsOf(c, ranks, 1, prompt), want, std::to_string(ranks) + " ranks");
  ExpectTheSameBits(LogitsOf(c, 1, 3, prompt), want, "3 threads");
}

// --sums quick: the same bits run after run with a number of ranks, and what a rounding to float makes of the exact ones.
TEST(QuickSums, AreNearTheExactOnesAndRepeatThemselves) {
  unsetenv("ONECOPY_KERNELS");
  if (!cli::ChooseKernels().has_many()) GTEST_SKIP() << "no kernel of this CPU has a quick sum";
  for (const Case& c : kCases) {
    if (std::string(c.name) != "qwen3_moe_Q8_0" && std::string(c.name) != "deepseek_v3_Q4_K_M") continue;
    const auto prompt = test::Golden(c.folder).prompts().back();
    for (const int ranks : {1, 3}) {
      const std::string where = std::string(c.name) + ", " + std::to_string(ranks) + " ranks";
      const std::vector<float> quick = LogitsOf(c, ranks, 1, prompt, true);
      ExpectTheSameBits(LogitsOf(c, ranks, 2, prompt, true), quick, where);
      const std::vector<float> exact = LogitsOf(c, ranks, 1, prompt);
      // A last bit of float now and then rounds an activation to another bf16, 2^-8 of it away.
      double mean = 0;
      for (size_t i = 0; i < exact.size(); ++i)
        mean += std::fabs(double{quick[i]} - exact[i]) / static_cast<double>(exact.size());
      EXPECT_LT(mean, 0.004) << where;
      EXPECT_GT(mean, 0) << where << ": these are the exact ones";
    }
  }
}

}  // namespace
}  // namespace onecopy::parity
