// Exit codes and messages: a contract with scripts.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/onecopy.h"
#include "tests/support/sparse_model.h"

namespace onecopy {
namespace {

using test::Onecopy;
using ::testing::HasSubstr;

struct Wrong {
  const char* what;
  std::vector<std::string> args;
  int exit_code;
  const char* message;
};

TEST(ExitCode, WrongUseAndBadFilesAreToldApart) {
  const std::string vocabulary = ONECOPY_TEST_TOKENIZERS "/ggml-vocab-qwen2.gguf";
  const Wrong cases[] = {
      {"no command", {}, 2, "subcommand"},
      {"unknown command", {"sing"}, 2, "sing"},
      {"unknown option", {"generate", "--loud"}, 2, "--loud"},
      {"number that is none", {"generate", "-n", "many"}, 2, "many"},
      {"empty prompt", {"generate", "-p", ""}, 2, "prompt is empty"},
      {"prompt and tokens", {"generate", "-p", "a", "--tokens", "1"}, 2, "--tokens"},
      {"token past the vocabulary", {"generate", "--tokens", "1,4096"}, 2, "4096"},
      {"negative token", {"generate", "--tokens", "1,-7"}, 2, "-7"},
      {"token that is no number", {"generate", "--tokens", "1,x"}, 2, "x"},
      {"past the context", {"generate", "-n", "2048"}, 2, "context of 2048"},
      {"past --context", {"generate", "-n", "64", "--context", "32"}, 2, "--context 32"},
      {"context beyond the model", {"generate", "-n", "64", "--context", "4096"}, 2, "2048"},
      {"temperature below 0", {"generate", "--temp", "-1"}, 2, "temperature"},
      {"bias that is none", {"generate", "--logit-bias", "5"}, 2, "--logit-bias"},
      {"missing file", {"generate", "-m", "/no/such/model.gguf"}, 3, "/no/such/model.gguf"},
      {"a folder without a model", {"generate", "-m", ONECOPY_TEST_DATA}, 3, "config.json"},
      {"a device", {"generate", "-m", "/dev/zero"}, 3, "/dev/zero"},
      {"only a vocabulary", {"generate", "-m", vocabulary}, 3, "ggml-vocab-qwen2.gguf"},
      {"missing text", {"perplexity", "-f", "/no/such/text"}, 3, "/no/such/text"},
      {"output folder absent",
       {"logits", "--tokens", "1", "-o", "/no/such/folder/x.npy"},
       3,
       "/no/such/folder"},
      {"size that is none", {"plan", "--node-memory", "lots"}, 2, "lots"},
  };
  for (const Wrong& c : cases) {
    SCOPED_TRACE(c.what);
    const auto result = Onecopy(c.args);
    EXPECT_EQ(result.exit_code, c.exit_code) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr(c.message));
    EXPECT_THAT(result.err, HasSubstr("onecopy: "));
  }
}

TEST(ExitCode, KernelsThatDoNotExistAreAUsageError) {
  const auto result =
      Onecopy({"generate", "-n", "1"}, {.env = {{"ONECOPY_KERNELS", "sse9"}}, .while_running = {}});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("sse9"));
  EXPECT_THAT(result.err, HasSubstr("ref"));
}

TEST(ExitCode, HelpIsAResult) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{"--help"}, {"generate", "--help"}}) {
    const auto result = Onecopy(args);
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_THAT(result.out, HasSubstr("generate"));
  }
  EXPECT_THAT(Onecopy({"generate", "--help"}).out, HasSubstr("onecopy generate -p"));
}

TEST(ExitCode, AReaderThatLeavesIsNoError) {
  const auto result = test::RunCommand(
      {"bash", "-c", "set -o pipefail; \"$0\" inspect --json | (exec <&-; sleep 1)", ONECOPY_BINARY});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
}

TEST(ExitCode, MalformedModelsEndSoonWithoutMuchMemory) {
  const std::string folder = ONECOPY_TEST_DATA "/goldens/malformed/";
  const auto cases = nlohmann::json::parse(std::ifstream(folder + "cases.json"));
  int rejected = 0;
  for (const auto& c : cases) {
    const std::string path = c.at("path"), expect = c.at("expect");
    SCOPED_TRACE(path + ": " + std::string(c.at("wrong")));
    const auto result =
        Onecopy({"generate", "-m", folder + path, "--tokens", "3,4", "-n", "1", "--temp", "0", "--json"});
    if (expect == "accept") {
      EXPECT_EQ(result.exit_code, 0) << result.err;
    } else if (expect == "reject") {
      EXPECT_EQ(result.exit_code, 3) << result.err;
      EXPECT_THAT(result.err, HasSubstr(path));
      EXPECT_EQ(result.out, "");
      ++rejected;
    } else {
      EXPECT_LT(result.exit_code, 128) << result.err;
    }
    EXPECT_LT(result.seconds, 20);
#ifndef __SANITIZE_ADDRESS__
    EXPECT_LT(result.peak_bytes, 200u << 20);
#endif
  }
  EXPECT_GE(rejected, 40);
}

// The headers of a model of about 700 GB, in a file that is all hole.
TEST(ExitCode, AModelThatDoesNotFitIsRefusedBeforeAnythingIsAllocated) {
  const test::TempFile file(".gguf");
  ASSERT_GT(
      test::WriteSparseModel(file.path(), {.layers = 61, .hidden = 7168, .experts = 256, .inter = 4096}),
      600'000'000'000u);
  const auto generate = Onecopy({"generate", "-m", file.path(), "--tokens", "1", "-n", "1"});
  EXPECT_EQ(generate.exit_code, 4) << generate.err;
  EXPECT_THAT(generate.err, HasSubstr("does not fit"));
  EXPECT_LT(generate.peak_bytes, 200u << 20);
  EXPECT_LT(generate.seconds, 20);

  const auto plan = Onecopy({"plan", "-m", file.path(), "--nodes", "24", "--node-memory", "64G", "--json"});
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_LT(plan.seconds, 20);
  const auto json = nlohmann::json::parse(plan.out);
  EXPECT_TRUE(json.at("fits"));
  EXPECT_EQ(json.at("ranks").size(), 24u);
  const auto too_small = nlohmann::json::parse(
      Onecopy({"plan", "-m", file.path(), "--nodes", "24", "--node-memory", "16G", "--json"}).out);
  EXPECT_FALSE(too_small.at("fits"));
}

}  // namespace
}  // namespace onecopy
