// Stages of a pipeline against all layers on one stage.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tests/parity/golden_cases.h"

namespace onecopy::parity {
namespace {

class Pipelines : public ::testing::TestWithParam<std::tuple<const char*, std::pair<int, int>>> {};

// The stages of a pipeline compute what one rank computes: the same bits where each stage has one rank.
TEST_P(Pipelines, GiveTheLogitsAndTokensOfOneStage) {
  const auto& [table, shape] = GetParam();
  const auto [ranks, stages] = shape;
  std::string error;
  if (!kernels::SelectTable(table, &error)) GTEST_SKIP() << error;
  setenv("ONECOPY_KERNELS", table, 1);
  for (const Case& c : kCases) {
    if (!c.in_pipelines) continue;
    SCOPED_TRACE(std::string(table) + " " + c.name);
    const test::Golden golden(c.folder);
    std::vector<std::vector<float>> logits(golden.prompts().size());
    std::vector<std::vector<int32_t>> greedy(golden.prompts().size());
    WithModel(c, ranks / stages, [&](exec::Engine& engine) {
      for (size_t p = 0; p < golden.prompts().size(); ++p) {
        const auto got = engine.Append(0, 0, golden.prompts()[p], 3);
        logits[p].assign(got.begin(), got.end());
        engine.Release(0);
        greedy[p] = Greedy(engine, golden.prompts()[p], 32);
      }
    });
    WithModel(
        c, ranks,
        [&](exec::Engine& engine) {
          for (size_t p = 0; p < golden.prompts().size(); ++p) {
            const auto got = engine.Append(0, 0, golden.prompts()[p], 3);
            ASSERT_EQ(got.size(), logits[p].size());
            if (c.kv_tokens == kManyPositions) {
              // Which rank holds which positions depends on the number of ranks, and their sums are rounded.
              for (size_t i = 0; i < got.size(); ++i)
                EXPECT_NEAR(got[i], logits[p][i], 0.1) << "prompt " << p;
            } else {
              EXPECT_EQ(std::memcmp(got.data(), logits[p].data(), got.size_bytes()), 0)
                  << c.name << ", prompt " << p;
            }
            engine.Release(0);
            EXPECT_EQ(Greedy(engine, golden.prompts()[p], 32), greedy[p]);
          }
        },
        stages);
  }
  unsetenv("ONECOPY_KERNELS");
}

// What stages exchange does not depend on the kernels: all shapes with those that every machine has, one with the others but
// ref, which is slow.
std::vector<std::tuple<const char*, std::pair<int, int>>> PipelineCases() {
  std::vector<std::tuple<const char*, std::pair<int, int>>> cases;
  for (const std::string_view table : TableNames())
    for (const int ranks : {2, 4, 6})
      if (table == "avx2" || (ranks == 4 && table != "ref")) cases.push_back({table.data(), {ranks, 2}});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, Pipelines, ::testing::ValuesIn(PipelineCases()), [](const auto& info) {
  const auto& shape = std::get<1>(info.param);
  return std::string(std::get<0>(info.param)) + "_" + std::to_string(shape.first) + "ranks" +
         std::to_string(shape.second) + "stages";
});

}  // namespace
}  // namespace onecopy::parity
