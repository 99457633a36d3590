// --weights: matrices quantised while they are loaded are those of the file that `quantize` writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

using test::Onecopy;
using test::OnecopyRanks;
using ::testing::HasSubstr;

const std::string kSmall = ONECOPY_TEST_DATA "/goldens/gguf/qwen3_moe-Q8_0/model.gguf";

struct Outcome {
  std::string logits;  // the file
  uint64_t weight_bytes = 0;
};

Outcome LogitsOf(int ranks, const std::vector<std::string>& model) {
  const test::TempFile npy(".npy"), report(".json");
  std::vector<std::string> args = {"logits", "--tokens", "1,20,300,4,55", "--last",     "5",
                                   "-o",     npy.path(), "--report",      report.path()};
  args.insert(args.end(), model.begin(), model.end());
  const auto result = OnecopyRanks(ranks, args);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  if (result.exit_code != 0) return {};
  return {npy.Read(), nlohmann::json::parse(report.Read()).at("weight_bytes")};
}

// Three ranks cut experts of 256 columns inside super-blocks.
TEST(WeightsOption, GivesTheLogitsAndTheMemoryOfTheFileThatQuantizeWrites) {
  const uint64_t unchanged = LogitsOf(1, {"-m", kSmall}).weight_bytes;
  for (const auto& [type, ranks] : {std::pair<std::string, int>{"q4_k_m", 1}, {"q4_k_m", 3}, {"mxfp4", 3}}) {
    SCOPED_TRACE(type + ", " + std::to_string(ranks) + " ranks");
    const test::TempFile file(".gguf");
    ASSERT_EQ(Onecopy({"quantize", "-m", kSmall, "-o", file.path(), "--type", type}).exit_code, 0);
    const Outcome stored = LogitsOf(ranks, {"-m", file.path()});
    const Outcome loaded = LogitsOf(ranks, {"-m", kSmall, "--weights", type});
    EXPECT_TRUE(loaded.logits == stored.logits);
    EXPECT_EQ(loaded.weight_bytes, stored.weight_bytes);
    EXPECT_LT(loaded.weight_bytes, unchanged);
  }
}

TEST(WeightsOption, IsWhatPlanCountsWith) {
  const auto plan = [](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"plan", "-m", kSmall, "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return nlohmann::json::parse(Onecopy(args).out);
  };
  const auto before = plan({}), after = plan({"--weights", "q4_k_m"});
  EXPECT_LT(after.at("weight_bytes"), before.at("weight_bytes"));
  EXPECT_TRUE(after.at("weight_types").contains("Q4_K")) << after.at("weight_types");
  EXPECT_FALSE(before.at("weight_types").contains("Q4_K"));
  EXPECT_LT(after.at("predicted").at("bytes_per_token"), before.at("predicted").at("bytes_per_token"));
}

TEST(WeightsOption, InspectShowsTheTypesAfterwards) {
  const auto inspect = [](const std::vector<std::string>& more) {
    std::vector<std::string> args = {"inspect", "-m", kSmall, "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return nlohmann::json::parse(Onecopy(args).out);
  };
  EXPECT_FALSE(inspect({}).contains("quantised"));
  const test::TempFile file(".gguf");
  ASSERT_EQ(Onecopy({"quantize", "-m", kSmall, "-o", file.path(), "--type", "q4_k_m"}).exit_code, 0);
  uint64_t stored = 0;
  const auto written = nlohmann::json::parse(Onecopy({"inspect", "-m", file.path(), "--json"}).out);
  for (const auto& tensor : written.at("tensors"))
    if (tensor.at("type") == "Q4_K") stored += tensor.at("bytes").get<uint64_t>();
  const uint64_t said = inspect({"--weights", "q4_k_m"}).at("quantised").at("bytes").at("Q4_K");
  EXPECT_EQ(said, stored);
}

TEST(WeightsOption, UnknownTypesAndSecondQuantisationsAreErrors) {
  const std::string models = ONECOPY_SOURCE_DIR "/models/";
  const auto generate = [](const std::string& model, const std::string& type) {
    return Onecopy({"generate", "-m", model, "--weights", type, "-n", "1"});
  };
  const auto unknown = generate(kSmall, "q9");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("--weights: expected one of f16, bf16, q8_0"));
  const auto twice = generate(models + "tiny-moe-q4_k_m.gguf", "q4_0");
  EXPECT_EQ(twice.exit_code, 3);
  EXPECT_THAT(twice.err, HasSubstr("loses twice"));
}

}  // namespace
}  // namespace onecopy
