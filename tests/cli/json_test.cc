// What programs read: JSON of every command, with the keys of the contract.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/support/golden.h"
#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

using nlohmann::json;
using test::Onecopy;

json JsonOf(const std::vector<std::string>& args, const test::CommandOptions& options = {}) {
  const auto result = Onecopy(args, options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out, nullptr, /*allow_exceptions=*/false);
}

TEST(Json, GenerateGivesNewTokensTextAndTimings) {
  const auto result = JsonOf({"generate", "-p", "Dorothy said", "-n", "12", "--temp", "0", "--json"});
  EXPECT_EQ(result.at("tokens").size(), 12u);
  EXPECT_TRUE(result.at("text").is_string());
  EXPECT_EQ(result.at("text").get<std::string>().find("Dorothy said"), std::string::npos)
      << "only what is new";
  EXPECT_GT(result.at("timings").at("decode_tokens_per_second"), 0);
}

TEST(Json, TheSameSeedGivesTheSameTextAndAnotherSeedAnother) {
  const auto text = [](const char* seed) {
    return JsonOf({"generate", "-n", "40", "--seed", seed, "--json"}).at("text").get<std::string>();
  };
  EXPECT_EQ(text("7"), text("7"));
  EXPECT_NE(text("7"), text("8"));
}

TEST(Json, StopStringsEndTheText) {
  const auto result = JsonOf({"generate", "-n", "60", "--temp", "0", "--stop", ".", "--json"});
  EXPECT_EQ(result.at("finish_reason"), "stop");
  EXPECT_EQ(result.at("text").get<std::string>().find('.'), std::string::npos);
}

TEST(Json, StreamedTextIsTheJsonText) {
  const auto streamed = Onecopy({"generate", "-p", "The ", "-n", "30", "--temp", "0"});
  const auto whole = JsonOf({"generate", "-p", "The ", "-n", "30", "--temp", "0", "--json"});
  EXPECT_EQ(streamed.out, "The " + whole.at("text").get<std::string>() + "\n");
}

TEST(Json, TokenizeRoundTrips) {
  const auto result = JsonOf({"tokenize", "-p", "Once upon a time", "--json"});
  std::string text;
  for (const auto& piece : result.at("pieces")) text += piece.get<std::string>();
  EXPECT_EQ(text, "Once upon a time");
  EXPECT_EQ(result.at("tokens").size(), result.at("pieces").size());
}

TEST(Json, PlanStatesWhoHoldsWhat) {
  const auto plan = JsonOf({"plan", "--nodes", "3", "--context", "1024", "--json"});
  EXPECT_TRUE(plan.at("fits"));
  ASSERT_EQ(plan.at("ranks").size(), 3u);
  uint64_t sum = 0;
  for (const auto& rank : plan.at("ranks")) {
    sum += rank.at("weight_bytes").get<uint64_t>();
    for (const char* key : {"node", "replicated_bytes", "kv_bytes", "workspace_bytes", "available_bytes"})
      EXPECT_TRUE(rank.at(key).is_number()) << key;
  }
  EXPECT_EQ(sum, plan.at("weight_bytes"));
  EXPECT_GE(plan.at("one_copy_per_node_bytes").get<uint64_t>(),
            3 * plan.at("one_copy_bytes").get<uint64_t>());
  EXPECT_GT(plan.at("predicted").at("decode_tokens_per_second"), 0);
  EXPECT_GT(plan.at("predicted").at("prefill_tokens_per_second"), 0);
}

// The plan's bytes are those that a run takes, of 34 bytes for 32 values instead of 64.
TEST(Json, PlanAndReportAgreeOnTheCacheOfEachType) {
  uint64_t of_type[2] = {};
  for (const char* type : {"f16", "q8_0"}) {
    const std::vector<std::string> options = {"--context", "1024", "--kv-type", type};
    std::vector<std::string> plan = {"plan", "--nodes", "1", "--json"}, run = {"logits", "--tokens", "1"};
    const test::TempFile report(".json"), npy(".npy");
    plan.insert(plan.end(), options.begin(), options.end());
    run.insert(run.end(), options.begin(), options.end());
    for (const char* word : {"-o", npy.path().c_str(), "--report", report.path().c_str()})
      run.emplace_back(word);
    const json planned = JsonOf(plan);
    const auto result = Onecopy(run);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const json measured = json::parse(report.Read());
    EXPECT_EQ(planned.at("kv_type"), measured.at("kv_type"));
    const uint64_t bytes = planned.at("ranks").at(0).at("kv_bytes");
    constexpr uint64_t kGranule = 2 << 20;  // of arenas
    EXPECT_EQ(measured.at("ranks").at(0).at("kv_bytes").get<uint64_t>(),
              (bytes + kGranule - 1) / kGranule * kGranule)
        << type;
    of_type[std::string(type) == "q8_0"] = bytes;
    EXPECT_EQ(planned.at("kv_type") == "q8_0", std::string(type) == "q8_0");
    if (planned.at("kv_type") == "f32") of_type[0] /= 2;  // the kernels ref
  }
  EXPECT_EQ(of_type[1], of_type[0] * 34 / 64);
  EXPECT_EQ(Onecopy({"plan", "--kv-type", "q4_0"}).exit_code, 2);
}

TEST(Json, BenchStatesSpeedBesideBandwidth) {
  const auto bench = JsonOf({"bench", "-p", "32", "-n", "8", "-r", "2", "--json"});
  const auto& prefill = bench.at("prefill").at(0);
  EXPECT_EQ(prefill.at("tokens"), 32);
  const auto& decode = bench.at("decode").at(0);
  EXPECT_EQ(decode.at("batch"), 1);
  for (const auto& row : {prefill, decode}) {
    const auto& rate = row.at("tokens_per_second");
    EXPECT_LE(rate.at("min"), rate.at("median"));
    EXPECT_LE(rate.at("median"), rate.at("max"));
    EXPECT_GT(rate.at("min"), 0);
  }
  EXPECT_GT(decode.at("bytes_per_token"), 1'000'000);
  EXPECT_GT(decode.at("bandwidth_share"), 0);
  EXPECT_GT(bench.at("machine").at("read_bytes_per_second"), 1e9);
}

TEST(Json, InspectAndDoctorAreJson) {
  EXPECT_TRUE(JsonOf({"inspect", "--json"}).is_object());
  EXPECT_TRUE(JsonOf({"doctor", "--json"}).is_object());
}

TEST(Npy, LogitsAreTheGoldens) {
  const test::Golden golden(ONECOPY_TEST_DATA "/goldens/qwen3_moe");
  const auto want = golden.Floats("logits_1");
  std::string tokens;
  const std::vector<int32_t> prompt = golden.prompts()[1];
  for (int32_t token : prompt) tokens += (tokens.empty() ? "" : ",") + std::to_string(token);
  const test::TempFile file(".npy");
  const auto result = Onecopy({"logits", "-m", ONECOPY_TEST_DATA "/goldens/qwen3_moe", "--tokens", tokens,
                               "--last", "4", "-o", file.path()},
                              {.env = {{"ONECOPY_KERNELS", "ref"}}, .while_running = {}});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto got = test::ReadNpy(file);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], golden.atol()) << "element " << i;
}

// Figures of the model's README: transformers in fp32 (sliding), llama-perplexity (side by side).
TEST(Perplexity, AgreesWithTransformersAndLlamaCpp) {
  const std::string models = ONECOPY_SOURCE_DIR "/models/";
  struct {
    std::string model;
    const char* stride;
    double want;
    size_t tokens;
  } const cases[] = {
      {ONECOPY_TEST_TINY_MOE, "0", 77.5609, 7905},
      {models + "tiny-moe-q8_0.gguf", "0", 77.6341, 7905},
      {models + "tiny-moe-q4_k_m.gguf", "0", 78.3970, 7905},
      {ONECOPY_TEST_TINY_MOE, "256", 75.127, 16313},
      {models + "tiny-moe-q8_0.gguf", "256", 75.127, 16313},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.model + " stride " + c.stride);
    const auto got = JsonOf({"perplexity", "-m", c.model, "-f", models + "eval.txt", "--context", "512",
                             "--stride", c.stride, "--json"},
                            {.env = {}, .timeout_seconds = 300, .while_running = {}});
    EXPECT_NEAR(got.at("perplexity").get<double>() / c.want, 1.0, 0.005);
    EXPECT_EQ(got.at("tokens"), c.tokens);
  }
}

TEST(PlanJson, SeveralHostsShareTheModelOnceAsPredictedForTheirLink) {
  const auto plan = [](const std::string& link) {
    return JsonOf({"plan", "--machine", "2x-epyc-9655-2-nodes", "--hosts", "2", "--json", "--link", link});
  };
  for (const char* link : {"1us,100GB/s", "2ms,1GB/s"}) {
    const json out = plan(link);
    ASSERT_EQ(out["ranks"].size(), 4u);
    uint64_t sum = 0;
    for (const auto& rank : out["ranks"]) sum += rank["weight_bytes"].get<uint64_t>();
    EXPECT_EQ(sum, out["weight_bytes"].get<uint64_t>());
    EXPECT_EQ(out["ranks"][0]["host"], 0);
    EXPECT_EQ(out["ranks"][3]["host"], 1);
    EXPECT_NE(out["stages_text"].get<std::string>().find("predicted"), std::string::npos);
  }
  const json slow = plan("2ms,1GB/s");
  ASSERT_EQ(slow["stages"].size(), 2u) << "milliseconds a layer are too many";
  EXPECT_EQ(slow["stages"][0]["ranks"], json({0, 2}));
  EXPECT_EQ(slow["ranks"][2]["stage"], 1);
}

}  // namespace
}  // namespace onecopy
