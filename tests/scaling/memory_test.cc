// One copy, seen from outside: memory and reads of all ranks together as the kernel counts them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

namespace fs = std::filesystem;

// Made once for all tests of this program; removed at its end.
const std::string& BigModel() {
  static const test::TempFile file(".gguf");
  static const int made = std::system(
      ("python3 " ONECOPY_SOURCE_DIR "/tests/support/make_synthetic_moe.py " + file.path() + " --layers 4")
          .c_str());
  EXPECT_EQ(made, 0);
  return file.path();
}

// A number behind "key:" in a file of /proc, in its own unit; 0 where there is none.
uint64_t Field(const fs::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.rfind(key + ":", 0) == 0) return std::stoull(line.substr(key.size() + 1));
  return 0;
}

// Those that have this model on their command line: others may run meanwhile.
std::vector<fs::path> RanksOf(const std::string& model) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream comm(entry.path() / "comm"), command(entry.path() / "cmdline");
    std::string name, words;
    if (std::getline(comm, name) && name == "onecopy" && std::getline(command, words) &&
        words.find(model) != std::string::npos)
      found.push_back(entry.path());
  }
  return found;
}

struct Seen {
  uint64_t pss = 0;   // bytes, the most at any one time, of all ranks together
  uint64_t read = 0;  // bytes, of all ranks together
  size_t ranks = 0;
  std::string tokens;
};

Seen Watch(int ranks) {
  Seen seen;
  std::map<std::string, uint64_t> read;
  test::CommandOptions options;
  options.timeout_seconds = 100;
  options.while_running = [&](pid_t) {
    uint64_t pss = 0;
    const auto processes = RanksOf(BigModel());
    for (const fs::path& process : processes) {
      pss += Field(process / "smaps_rollup", "Pss") * 1024;
      uint64_t& bytes = read[process.filename()];
      bytes = std::max(bytes, Field(process / "io", "rchar"));
    }
    seen.pss = std::max(seen.pss, pss);
    seen.ranks = std::max(seen.ranks, processes.size());
  };
  const auto result = test::OnecopyRanks(
      ranks, {"generate", "-m", BigModel(), "--tokens", "5,6,7", "-n", "60", "--temp", "0", "--ignore-eos"},
      options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  seen.tokens = result.out;
  for (const auto& [process, bytes] : read) seen.read += bytes;
  return seen;
}

TEST(Memory, FourRanksTakeNoMoreThanOneAndReadTheFileOnce) {
  const auto model_bytes = static_cast<double>(fs::file_size(BigModel()));
  ASSERT_GT(model_bytes, 1e9);
  const Seen one = Watch(1), four = Watch(4);
  ASSERT_EQ(one.ranks, 1u);
  ASSERT_EQ(four.ranks, 4u);
  EXPECT_EQ(one.tokens, four.tokens);
  EXPECT_GT(one.tokens.size(), 20u);
  const double growth = (static_cast<double>(four.pss) - static_cast<double>(one.pss)) / model_bytes;
  printf("model %.0f MB; PSS of 1 rank %.0f MB, of 4 ranks %.0f MB: growth %.1f %% of the model\n",
         model_bytes / 1e6, static_cast<double>(one.pss) / 1e6, static_cast<double>(four.pss) / 1e6,
         100 * growth);
  printf("read by 1 rank %.3f, by 4 ranks %.3f of the file\n", static_cast<double>(one.read) / model_bytes,
         static_cast<double>(four.read) / model_bytes);
  EXPECT_GT(static_cast<double>(one.pss), 0.95 * model_bytes);
  EXPECT_LT(growth, 0.08);
  EXPECT_LE(static_cast<double>(one.read), 1.05 * model_bytes);
  EXPECT_LE(static_cast<double>(four.read), 1.05 * model_bytes);
}

}  // namespace
}  // namespace onecopy
