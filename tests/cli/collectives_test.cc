// bench-collectives, and the table that it writes, as users run them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

using nlohmann::json;
using test::OnecopyRanks;
using ::testing::HasSubstr;

test::CommandResult RunOn(int ranks, const std::vector<std::string>& args) {
  return OnecopyRanks(ranks, args, {.env = {}, .while_running = {}});
}

std::string Tokens(int ranks, std::vector<std::string> more) {
  std::vector<std::string> args = {"generate", "-n", "40", "--temp", "0", "--ignore-eos", "--json"};
  args.insert(args.end(), more.begin(), more.end());
  const auto result = RunOn(ranks, args);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result.exit_code == 0 ? json::parse(result.out).at("tokens").dump() : "";
}

TEST(BenchCollectives, MeasuresEverySizeOnEveryNumberOfRanks) {
  const auto result = RunOn(3, {"bench-collectives", "--bytes", "64,8Ki,256Ki", "--seconds", "1", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::set<std::pair<int, int>> seen;
  const json results = json::parse(result.out);
  for (const auto& row : results.at("rows")) {
    seen.emplace(row.at("ranks"), row.at("bytes"));
    for (const char* name : {"one-phase", "two-phases", "choice", "mpi", "rows", "rows mpi", "copy"}) {
      const auto& latency = row.at("latency_us").at(name);
      EXPECT_GT(latency.at("samples"), 0) << name;
      EXPECT_LE(latency.at("median"), latency.at("p99")) << name;
    }
  }
  EXPECT_EQ(seen, (std::set<std::pair<int, int>>{
                      {2, 64}, {2, 8192}, {2, 262144}, {3, 64}, {3, 8192}, {3, 262144}}));
}

TEST(BenchCollectives, WhatItTunesIsReadAgainAndChangesNoToken) {
  const test::TempFile table(".json");
  const auto result =
      RunOn(3, {"bench-collectives", "--bytes", "2Ki,64Ki", "--seconds", "1", "--tune", table.path()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("| ranks | bytes | one phase | two phases |"));
  EXPECT_GE(json::parse(table.Read()).at("rows").size(), 2u);
  EXPECT_EQ(Tokens(3, {"--collectives-table", table.path()}), Tokens(3, {}));
}

TEST(CollectivesTable, WrongFileEndsAllRanksWithWhatIsWrong) {
  const auto run_with = [](const std::string& text) {
    const test::TempFile table(".json");
    std::ofstream(table.path()) << text;
    const auto result = RunOn(2, {"generate", "-n", "1", "--collectives-table", table.path()});
    EXPECT_EQ(result.exit_code, 3) << text;
    return result.err;
  };
  EXPECT_THAT(run_with("{}"), HasSubstr("is no table of collectives"));
  EXPECT_THAT(run_with("not json"), HasSubstr("is no table of collectives"));
  EXPECT_THAT(run_with(R"({"collectives_table": 1, "rows": [{"ranks": 2, "sockets": 1, "up_to_bytes": 64,
                           "algorithm": "fastest"}]})"),
              HasSubstr("rows[0]: \"algorithm\" must be"));
  EXPECT_THAT(run_with(R"({"collectives_table": 1, "rows": [{"ranks": 0, "sockets": 1, "up_to_bytes": 64,
                           "algorithm": "one-phase"}]})"),
              HasSubstr("rows[0]: \"ranks\" is 0"));
  const auto missing = RunOn(2, {"generate", "-n", "1", "--collectives-table", "/no/such/file"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_THAT(missing.err, HasSubstr("/no/such/file"));
}

TEST(BenchCollectives, MoreRanksThanThereAreIsAUsageError) {
  const auto result = RunOn(2, {"bench-collectives", "--ranks", "5"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("this run has 2 ranks"));
}

TEST(Wire, Bf16InThePrefillStillGivesAText) {
  // Rounded sums may change a token, so no more than that it runs is asked here; tests/unit/comm bounds the error.
  EXPECT_NE(Tokens(3, {"--wire", "bf16", "-p", "Once upon a time there was a little girl who lived in"}), "");
}

}  // namespace
}  // namespace onecopy
