// A KV cache of q8_0 beside one of f16: how far the logits move, and that the number of ranks changes no token.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/parity/golden_cases.h"

namespace onecopy::parity {
namespace {

// The best table whose kernel does not depend on the number of tokens of a prompt.
void UseBestTable() {
  const auto& tables = kernels::AllTables();
  const auto best = std::find_if(tables.begin(), tables.end(), [](const kernels::TableEntry& entry) {
    return entry.supported() && !entry.table().has_many();
  });
  setenv("ONECOPY_KERNELS", best->name, 1);
}

double Median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

// A family each, with what its cache has of its own: sinks, windows, chunks, latents, values shorter than keys, heads that
// are no multiple of 32.
class KvTypes : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Families, KvTypes,
                         ::testing::Values("qwen3_moe", "deepseek_v3", "deepseek_v3_by_position", "gpt_oss",
                                           "qwen2_window", "llama3", "mixtral", "olmoe", "glm4_moe",
                                           "glm4_moe_lite", "minimax_m2", "granitemoe", "ernie4_5_moe",
                                           "qwen3_next", "qwen3_5_moe", "llama4_gguf", "mimo_v2_flash"),
                         [](const auto& info) { return std::string(info.param); });

// Weights are random here, so where two experts are near a tie, any rounding may choose the other one, which changes a
// row's logits as a whole: few rows may differ so, and the others by no more than 8-bit activations make them differ.
TEST_P(KvTypes, Q8MovesTheLogitsLittle) {
  UseBestTable();
  const Case& c = CaseOf(GetParam());
  const auto prompts = test::Golden(c.folder).prompts();
  constexpr int kRanks = 2;
  constexpr double kOtherExpert = 0.02;
  std::vector<std::vector<float>> f16;
  std::vector<double> means, kls;
  const auto logits_of = [&](exec::Engine& engine, size_t p) {
    const auto logits = engine.Append(0, 0, prompts[p], static_cast<uint32_t>(prompts[p].size()));
    engine.Release(0);
    return logits;
  };
  WithModel(c, kRanks, [&](exec::Engine& engine) {
    for (size_t p = 0; p < prompts.size(); ++p) {
      const auto logits = logits_of(engine, p);
      f16.emplace_back(logits.begin(), logits.end());
    }
  });
  const auto compare = [&](exec::Engine& engine) {
    const size_t vocab = engine.spec().vocab_size();
    for (size_t p = 0; p < prompts.size(); ++p) {
      const auto q8 = logits_of(engine, p);
      ASSERT_EQ(q8.size(), f16[p].size());
      for (size_t row = 0; row < q8.size(); row += vocab) {
        const Difference d =
            Compare(q8.subspan(row, vocab), std::span<const float>(f16[p]).subspan(row, vocab), vocab);
        means.push_back(d.mean);
        kls.push_back(d.kl);
      }
    }
  };
  WithModel(c, kRanks, compare, 0, kernels::KvType::kQ8_0);
  const auto others = std::count_if(kls.begin(), kls.end(), [](double kl) { return kl > kOtherExpert; });
  printf("%s: median over %zu rows: mean difference %.4f, KL %.6f; %td rows above %.2f\n", c.name, kls.size(),
         Median(means), Median(kls), others, kOtherExpert);
  EXPECT_LT(Median(means), 0.06);
  EXPECT_LT(Median(kls), 0.005);
  EXPECT_LE(static_cast<double>(others), 0.05 * static_cast<double>(kls.size()));
  EXPECT_GT(Median(means), 0) << "the cache is not q8_0";
}

class KvTypesOfRanks : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, KvTypesOfRanks,
                         ::testing::Values("qwen3_moe", "deepseek_v3", "deepseek_v3_by_position", "gpt_oss"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(KvTypesOfRanks, Q8HasTheSameTokensAtAnyNumberOfRanks) {
  UseBestTable();
  const Case& c = CaseOf(GetParam());
  const auto prompts = test::Golden(c.folder).prompts();
  std::vector<std::vector<int32_t>> want;
  for (const int ranks : {1, 2, 3, 4}) {
    const auto body = [&](exec::Engine& engine) {
      for (const size_t p : {1, 2}) {
        const auto tokens = Greedy(engine, prompts[p], 10);
        if (ranks == 1) want.push_back(tokens);
        EXPECT_EQ(tokens, want[p - 1]) << ranks << " ranks, prompt " << p;
      }
    };
    WithModel(c, ranks, body, 0, kernels::KvType::kQ8_0);
  }
}

}  // namespace
}  // namespace onecopy::parity
