// Several MPI ranks: the same answer, one copy, each byte read once, and a quick end when a rank dies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

using nlohmann::json;
using test::OnecopyRanks;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<float> Logits(int ranks, const std::string& kernels, const std::string& tokens) {
  const test::TempFile file(".npy");
  const auto result = OnecopyRanks(ranks, {"logits", "--tokens", tokens, "-o", file.path()},
                                   {.env = {{"ONECOPY_KERNELS", kernels}}, .while_running = {}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return test::ReadNpy(file);
}

TEST(Ranks, GreedyTokensDoNotDependOnTheirNumber) {
  std::vector<int32_t> first;
  for (int ranks : {1, 2, 3, 24}) {
    const auto result =
        OnecopyRanks(ranks, {"generate", "-n", "200", "--temp", "0", "--ignore-eos", "--json"},
                     {.env = {}, .while_running = {}});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const std::vector<int32_t> tokens = json::parse(result.out).at("tokens");
    ASSERT_EQ(tokens.size(), 200u);
    if (ranks == 1) first = tokens;
    EXPECT_EQ(tokens, first) << ranks << " ranks";
  }
}

// Started again, or with other ranks: sums over ranks are made in double from terms that do not depend on the cut (kernels.h,
// MatmulSumFn).
TEST(Ranks, LogitsAreTheSameBits) {
  const std::string tokens = "12,500,301,77,1023,4000,9,256,811,2047,33,5";
  for (const std::string kernels : {"ref", ""}) {
    const auto first = Logits(1, kernels, tokens);
    for (int ranks : {1, 2, 3, 24}) EXPECT_EQ(Logits(ranks, kernels, tokens), first) << ranks << " ranks";
  }
}

TEST(Ranks, ModelsHaveNamesOfWhateverBytes) {
  const test::TempFile model("\xff\xfe.gguf"), report(".json");
  std::filesystem::copy_file(test::kDefaultModel, model.path());
  const auto result =
      OnecopyRanks(2, {"generate", "-m", model.path(), "-p", "Once", "-n", "2", "--report", report.path()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, Not(HasSubstr("UTF-8")));
  EXPECT_TRUE(json::accept(report.Read())) << report.Read();
}

TEST(Ranks, TheModelIsInMemoryOnceAndReadOnce) {
  const auto file_bytes = static_cast<double>(std::filesystem::file_size(test::kDefaultModel));
  for (int ranks : {1, 2, 3, 24}) {
    SCOPED_TRACE(ranks);
    const test::TempFile report(".json"), npy(".npy");
    const auto result =
        OnecopyRanks(ranks, {"logits", "--tokens", "1", "-o", npy.path(), "--report", report.path()});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto json = json::parse(report.Read());
    ASSERT_EQ(json.at("ranks").size(), static_cast<size_t>(ranks));
    uint64_t weights = 0, read = 0;
    for (const auto& rank : json.at("ranks")) {
      weights += rank.at("weight_bytes").get<uint64_t>();
      read += rank.at("bytes_read").get<uint64_t>();
      EXPECT_GE(rank.at("pages_on_node"), 0.999);
    }
    EXPECT_EQ(weights, json.at("weight_bytes"));
    EXPECT_NEAR(json.at("copies_in_memory").get<double>(), 1.0, 0.001);
    EXPECT_LE(static_cast<double>(weights), 1.05 * file_bytes);
    EXPECT_LE(static_cast<double>(read), 1.05 * file_bytes);
  }
}

std::vector<std::string> FilesIn(const char* folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// Processes named onecopy below mpirun's process group.
std::vector<pid_t> RanksOf(pid_t mpirun) {
  std::vector<pid_t> pids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (!std::isdigit(static_cast<unsigned char>(name[0]))) continue;
    std::ifstream stat(entry.path() / "stat");
    std::string text(std::istreambuf_iterator<char>(stat), {});
    const size_t close = text.rfind(')');
    if (close == std::string::npos || text.find("(onecopy)") == std::string::npos) continue;
    int parent = 0;
    char state;
    if (sscanf(text.c_str() + close + 1, " %c %d", &state, &parent) == 2 && parent == mpirun)
      pids.push_back(std::stoi(name));
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

TEST(Ranks, AKilledRankEndsTheJobByName) {
  const auto before = FilesIn("/dev/shm");
  auto start = std::chrono::steady_clock::now();
  bool killed = false;
  std::chrono::steady_clock::time_point killed_at;
  test::CommandOptions options;
  options.while_running = [&](pid_t pid) {
    const auto now = std::chrono::steady_clock::now();
    if (killed || now - start < std::chrono::milliseconds(1500)) return;
    const auto ranks = RanksOf(pid);
    if (ranks.size() != 3) return;
    killed = kill(ranks[1], SIGKILL) == 0;
    killed_at = now;
  };
  // Long enough to be in the middle of the step loop, on any machine.
  const std::string path = ::testing::TempDir() + "/killed-rank.txt";
  {
    std::ifstream one(ONECOPY_SOURCE_DIR "/models/eval.txt");
    const std::string text(std::istreambuf_iterator<char>(one), {});
    std::ofstream many(path);
    for (int i = 0; i < 50; ++i) many << text;
  }
  const auto result = OnecopyRanks(3, {"perplexity", "-f", path}, options);
  std::filesystem::remove(path);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - killed_at).count();
  ASSERT_TRUE(killed) << "the ranks were not found; output: " << result.err;
  EXPECT_NE(result.exit_code, 0);
  EXPECT_FALSE(result.timed_out);
  EXPECT_LT(seconds, 5.0);
  EXPECT_THAT(result.err, HasSubstr("rank 1"));
  EXPECT_EQ(FilesIn("/dev/shm"), before);
}

TEST(Ranks, ErrorsAreSaidOnceWithTheirExitCode) {
  const auto bad = OnecopyRanks(3, {"generate", "-m", "/no/such/model.gguf"});
  EXPECT_EQ(bad.exit_code, 3) << bad.err;
  const size_t first = bad.err.find("/no/such/model.gguf");
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(bad.err.find("/no/such/model.gguf", first + 1), std::string::npos) << bad.err;
  EXPECT_EQ(OnecopyRanks(2, {"generate", "--loud"}).exit_code, 2);
}

}  // namespace
}  // namespace onecopy
