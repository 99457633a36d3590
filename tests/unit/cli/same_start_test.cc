// Ranks that do not have the same say so, all with the same words.

#include "runtime/cli/same_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>

#include "kernels/registry.h"
#include "tests/support/local_ranks.h"

namespace onecopy::cli {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> Say(const std::vector<std::string>& values) {
  return test::RunRanks(static_cast<int>(values.size()), [&](comm::Communicator& comm) {
    RequireSame(comm, ErrorCode::kUsage, "favourite letter", values[comm.rank()], "choose one");
  });
}

TEST(SameStart, RanksThatSayTheSameGoOn) {
  test::ExpectNoErrors(Say({"a", "a", "a"}));
  test::ExpectNoErrors(Say({"a"}));
  test::ExpectNoErrors(Say({"a", "", "a", ""}));  // two take no part
}

TEST(SameStart, EveryRankNamesAllPartiesInTheOrderOfTheirRanks) {
  const auto errors = Say({"b", "b", "a", "b", "c"});
  for (const std::string& error : errors) EXPECT_EQ(error, errors[0]);
  EXPECT_THAT(errors[0],
              ::testing::MatchesRegex("ranks differ in the favourite letter: ranks 0-1,3 \\(.*\\): b; "
                                      "rank 2 \\(.*\\): a; rank 4 \\(.*\\): c; choose one"));
}

TEST(SameStart, LongValuesAreShownWhereTheyDiffer) {
  const std::string same(500, 'x');
  const auto errors = Say({same + " --top-k 40" + same, same + " --top-k 41" + same});
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("--top-k 40"), HasSubstr("--top-k 41"))));
  EXPECT_LT(errors[0].size(), 600u);
}

TEST(SameStart, RanksOfOneProgramAreTheSame) {
  test::ExpectNoErrors(test::RunRanks(3, [](comm::Communicator& comm) { RequireSameProgram(comm); }));
}

TEST(SameStart, PlansThatDifferInOneNumberAreFound) {
  const auto errors = test::RunRanks(3, [](comm::Communicator& comm) {
    proto::ShardPlan plan;
    plan.set_ranks(3);
    plan.add_partitions()->add_bounds(comm.rank() == 1 ? 33 : 32);
    RequireSamePlan(comm, plan);
  });
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("ranks 0,2"), HasSubstr("rank 1"), HasSubstr("plan"))));
}

TEST(SameStart, TheLowestKernelsChosenAreUsedByAll) {
  std::vector<const kernels::KernelTable*> tables;  // best first
  for (const auto& entry : kernels::AllTables())
    if (entry.supported()) tables.push_back(&entry.table());
  if (tables.size() < 2) GTEST_SKIP() << "this CPU has only " << tables[0]->name;
  std::mutex mutex;
  std::set<std::string> used;
  test::ExpectNoErrors(test::RunRanks(3, [&](comm::Communicator& comm) {
    const auto& mine = comm.rank() == 1 ? *tables.back() : *tables.front();
    const auto& common = CommonKernels(comm, mine);
    const std::lock_guard lock(mutex);
    used.insert(common.name);
  }));
  EXPECT_EQ(used, std::set<std::string>{tables.back()->name});
}

class TempFile {
 public:
  explicit TempFile(uint64_t bytes)
      : path_(::testing::TempDir() + "/same_start." + std::to_string(getpid())) {
    std::ofstream file(path_, std::ios::binary);
    for (uint64_t i = 0; i < bytes; ++i) file.put(static_cast<char>(i * 2654435761u >> 13));
  }
  ~TempFile() { std::filesystem::remove(path_); }
  void Flip(uint64_t at) const {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 1));
  }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(FileIdentity, SeesTheHeaderTheSizeAndSomePagesOfTheRest) {
  constexpr uint64_t kBytes = 64 * 40 * 4096 + 123, kHeader = 5000;
  const TempFile file(kBytes);
  const std::string identity = FileIdentity(file.path(), kHeader);
  EXPECT_THAT(identity, HasSubstr(std::to_string(kBytes) + " bytes, digest "));
  for (const uint64_t at : {uint64_t{0}, kHeader - 1, uint64_t{40 * 4096}, uint64_t{63 * 40 * 4096 + 4095}}) {
    file.Flip(at);
    EXPECT_NE(FileIdentity(file.path(), kHeader), identity) << "byte " << at;
    file.Flip(at);
  }
  EXPECT_EQ(FileIdentity(file.path(), kHeader), identity);
  file.Flip(39 * 4096);  // what lies between the pages is not read
  EXPECT_EQ(FileIdentity(file.path(), kHeader), identity);
  file.Flip(39 * 4096);
  std::filesystem::resize_file(file.path(), kBytes - 1);
  EXPECT_NE(FileIdentity(file.path(), kHeader), identity);
}

TEST(FileIdentity, OfAFileThatIsNotThereIsEmpty) {
  EXPECT_EQ(FileIdentity(::testing::TempDir() + "/no/such/file", 100), "");
}

TEST(FileIdentity, ADirectoryIsAnError) {
  EXPECT_THROW(FileIdentity(::testing::TempDir(), 100), Error);
}

}  // namespace
}  // namespace onecopy::cli
