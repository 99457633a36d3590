// onecopy quantize from Hugging Face directories: the GGUF file computes what the directory does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/support/drawn_model.h"
#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

using test::Onecopy;
using ::testing::HasSubstr;

const std::string kStored = ONECOPY_TEST_DATA "/goldens/", kMade = ONECOPY_TEST_MODELS "/",
                  kDrawnFolder = ONECOPY_TEST_MODELS "/../drawn/";

// With the `ref` kernels, whose activations are floats.
std::vector<float> RefLogits(const std::vector<std::string>& model) {
  const test::TempFile npy(".npy");
  std::vector<std::string> args = {"logits", "--tokens", "1,20,200,4,55", "--last", "5", "-o", npy.path()};
  args.insert(args.end(), model.begin(), model.end());
  const auto result = Onecopy(args, {.env = {{"ONECOPY_KERNELS", "ref"}}, .while_running = {}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return test::ReadNpy(npy);
}

TEST(QuantizeDirectory, TheFileComputesWhatTheDirectoryDoes) {
  test::DrawnModels drawn;
  const struct {
    std::string folder, type;
    double bound;  // of logits, beside the directory with --weights; 0: the same bits
  } cases[] = {
      {kStored + "qwen3_moe", "bf16", 0},
      {kStored + "qwen3_moe", "q4_k_m", 0},
      {kMade + "deepseek_v3", "bf16", 0},
      {kMade + "deepseek_v3_fp8", "q8_0", 0},
      {kMade + "gpt_oss", "q8_0", 0},  // experts stay MXFP4
      {drawn.Path(kDrawnFolder + "qwen2_moe", false), "bf16", 0},
      {drawn.Path(kDrawnFolder + "olmoe", false), "bf16", 0},
      {drawn.Path(kDrawnFolder + "glm4_moe", false), "bf16", 0},
      {drawn.Path(kDrawnFolder + "dots1", false), "bf16", 0},
      // Rows of q and k lie in another order, so sums over a head do too.
      {drawn.Path(kDrawnFolder + "mixtral", false), "bf16", 1e-4},
      {drawn.Path(kDrawnFolder + "llama2", false), "q8_0", 1e-4},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.folder + " " + c.type);
    const test::TempFile file(".gguf");
    const auto made = Onecopy({"quantize", "-m", c.folder, "-o", file.path(), "--type", c.type});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    EXPECT_FALSE(std::filesystem::exists(file.path() + ".header"));
    const auto want = RefLogits({"-m", c.folder, "--weights", c.type}), got = RefLogits({"-m", file.path()});
    ASSERT_EQ(got.size(), want.size());
    double most = 0;
    for (size_t i = 0; i < got.size(); ++i) most = std::max(most, std::fabs(double{got[i]} - want[i]));
    EXPECT_LE(most, c.bound);
  }
}

TEST(QuantizeDirectory, TheFileHasTokenizerAndTemplate) {
  const test::TempFile file(".gguf");
  const std::string folder = kStored + "qwen3_moe";
  ASSERT_EQ(Onecopy({"quantize", "-m", folder, "-o", file.path(), "--type", "q8_0"}).exit_code, 0);
  const auto ids = [](const std::string& model) {
    return Onecopy({"tokenize", "-m", model, "--json", "-p", "<|im_start|>It's 1234 \xE4\xB8\xAD  code\n"})
        .out;
  };
  EXPECT_EQ(ids(file.path()), ids(folder));
  const auto metadata =
      nlohmann::json::parse(Onecopy({"inspect", "-m", file.path(), "--json"}).out).at("metadata");
  EXPECT_EQ(metadata.at("tokenizer.ggml.pre"), "qwen2");
  EXPECT_EQ(metadata.at("general.file_type"), 7);
  EXPECT_TRUE(metadata.contains("tokenizer.chat_template"));
}

TEST(QuantizeDirectory, WhatGgufCannotSayIsRefusedByName) {
  test::DrawnModels drawn;
  const struct {
    std::string folder, type;
    const char* message;
  } cases[] = {
      {drawn.Path(kDrawnFolder + "llama", false), "q8_0",
       "rope_scaling: { kind: LLAMA3"},  // Llama 3's: a tensor there
      {drawn.Path(kDrawnFolder + "minimax_m2", false), "q8_0", "writing models of family minimax-m2"},
      {kMade + "qwen3_moe_int4_32", "q8_0", "loses twice"},
  };
  for (const auto& c : cases) {
    const test::TempFile file(".gguf");
    const auto result = Onecopy({"quantize", "-m", c.folder, "-o", file.path(), "--type", c.type});
    EXPECT_EQ(result.exit_code, 3) << c.folder;
    EXPECT_THAT(result.err, HasSubstr(c.message));
    EXPECT_EQ(file.NumFiles(), 0);
  }
}

}  // namespace
}  // namespace onecopy
