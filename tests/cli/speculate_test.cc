// Guessed tokens change the speed of a text, never the text.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

using nlohmann::json;

constexpr char kRepetitive[] =
    "The cat sat on the mat. The dog sat on the mat. The cat sat on the mat. The dog sat on the mat. The cat "
    "sat";

json Generate(int ranks, const char* prompt, std::vector<std::string> options,
              const std::string& kernels = "") {
  std::vector<std::string> args = {"generate", "-p", prompt, "-n", "120", "--ignore-eos", "--json"};
  args.insert(args.end(), options.begin(), options.end());
  const test::CommandOptions environment = {.env = {{"ONECOPY_KERNELS", kernels}}, .while_running = {}};
  const auto result =
      ranks == 1 ? test::Onecopy(args, environment) : test::OnecopyRanks(ranks, args, environment);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out, nullptr, /*allow_exceptions=*/false);
}

TEST(Speculate, GivesTheTokensOfPlainDecoding) {
  const std::vector<std::string> greedy = {"--temp", "0"}, sampled = {"--temp", "0.7", "--seed", "11"},
                                 penalised = {"--seed", "3", "--repeat-penalty", "1.2"};
  struct {
    const char* prompt;
    std::vector<std::string> sampling;
    int ranks;
    std::vector<std::string> speculate;
  } const cases[] = {
      {kRepetitive, greedy, 1, {"1", "6", "auto"}},
      {kRepetitive, sampled, 1, {"6", "auto"}},
      {kRepetitive, greedy, 2, {"6"}},
      {kRepetitive, sampled, 2, {"4"}},
      {"Dorothy said", greedy, 1, {"6"}},
      {"Dorothy said", penalised, 1, {"6", "auto"}},
      {"Dorothy said", sampled, 2, {"auto"}},
  };
  for (const auto& c : cases) {
    const json plain = Generate(c.ranks, c.prompt, c.sampling);
    EXPECT_EQ(plain["timings"]["drafted_tokens"], 0);
    for (const std::string& speculate : c.speculate) {
      SCOPED_TRACE(std::string(c.prompt) + ", " + c.sampling[1] + ", " + std::to_string(c.ranks) +
                   " ranks, --speculate " + speculate);
      std::vector<std::string> options = c.sampling;
      options.insert(options.end(), {"--speculate", speculate});
      const json guessed = Generate(c.ranks, c.prompt, options);
      EXPECT_EQ(guessed["tokens"], plain["tokens"]);
      EXPECT_EQ(guessed["text"], plain["text"]);
    }
  }
}

TEST(Speculate, GivesTheSameTokensWithTheReferenceKernels) {
  const json plain = Generate(1, kRepetitive, {"--temp", "0"}, "ref");
  EXPECT_EQ(Generate(1, kRepetitive, {"--temp", "0", "--speculate", "5"}, "ref")["tokens"], plain["tokens"]);
}

// The model of 8 MB says the same again and again when it is greedy.
TEST(Speculate, ARepetitiveTextTakesFewerSteps) {
  const json result = Generate(1, kRepetitive, {"--temp", "0", "--speculate", "6"});
  const json& timings = result["timings"];
  ASSERT_EQ(result["tokens"].size(), 120u);
  EXPECT_GT(timings["accepted_tokens"], 20);
  EXPECT_LE(timings["accepted_tokens"], timings["drafted_tokens"]);
  // Every token but the first comes of a step or of a guess that was right; the last step may have guessed beyond.
  const int steps = timings["decode_steps"], accepted = timings["accepted_tokens"];
  EXPECT_EQ(steps + accepted, 119);
}

TEST(Speculate, EndsWhereThePlainTextEnds) {
  for (const char* n : {"1", "2", "5"}) {
    const auto result =
        test::Onecopy({"generate", "-p", kRepetitive, "-n", n, "--temp", "0", "--speculate", "6", "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(json::parse(result.out)["tokens"].size(), static_cast<size_t>(std::stoi(n)));
  }
  const auto stop = [](const char* speculate) {
    return test::Onecopy(
               {"generate", "-p", kRepetitive, "--temp", "0", "--stop", ".", "--speculate", speculate})
        .out;
  };
  EXPECT_EQ(stop("6"), stop("off"));
}

TEST(Speculate, RefusesWhatIsNoNumberOfTokens) {
  for (const char* text : {"0", "7", "-1", "many", "3x", ""}) {
    const auto result = test::Onecopy({"generate", "--speculate", text});
    EXPECT_EQ(result.exit_code, 2) << text;
    EXPECT_THAT(result.err, ::testing::HasSubstr("--speculate")) << text;
  }
}

}  // namespace
}  // namespace onecopy
