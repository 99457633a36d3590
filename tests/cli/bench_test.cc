// bench: what it counts, held against the sizes that the file states, and its comparison of runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json Bench(int ranks, std::vector<std::string> options) {
  std::vector<std::string> args = {"bench", "-r", "1", "--json"};
  args.insert(args.end(), options.begin(), options.end());
  const auto result = ranks == 1 ? test::Onecopy(args) : test::OnecopyRanks(ranks, args);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out, nullptr, /*allow_exceptions=*/false);
}

// The shipped model's matrices, from its header. Its output.weight is not tied to the embedding.
struct FileSizes {
  double dense = 0, experts = 0;
  uint32_t layers = 0, n_experts = 0, top_k = 0;
};
FileSizes SizesOfShippedModel() {
  const json file = json::parse(test::Onecopy({"inspect", "--json"}).out);
  FileSizes sizes;
  for (const auto& tensor : file.at("tensors")) {
    const auto name = tensor.at("name").get<std::string>();
    const auto bytes = tensor.at("bytes").get<double>();
    if (tensor.at("shape").size() < 2 || name == "token_embd.weight") continue;  // vectors; a look-up
    (name.find("_exps") != std::string::npos ? sizes.experts : sizes.dense) += bytes;
    sizes.layers += name.find("ffn_gate_exps") != std::string::npos;
  }
  const json& metadata = file.at("metadata");
  sizes.n_experts = metadata.at("qwen3moe.expert_count");
  sizes.top_k = metadata.at("qwen3moe.expert_used_count");
  return sizes;
}

void ExpectSharesOfAllTheTime(const json& row) {
  double sum = 0;
  for (const auto& [phase, share] : row.at("time_shares").items()) {
    EXPECT_GE(share, -1e-6) << phase;
    sum += share.get<double>();
  }
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_GT(row.at("time_shares").at("experts"), 0);
  EXPECT_LT(row.at("idle_threads"), 1);
}

TEST(Bench, CountsTheBytesOfTheExpertsThatTokensChose) {
  const FileSizes sizes = SizesOfShippedModel();
  ASSERT_GT(sizes.layers, 0u);
  const double one_token = sizes.dense + sizes.experts * sizes.top_k / sizes.n_experts;
  std::set<uint64_t> multiply_adds;  // do not depend on the number of ranks
  for (int ranks : {1, 3}) {
    const json bench = Bench(ranks, {"-p", "64", "-n", "4", "--batch", "1,8"});
    const json &prefill = bench.at("prefill").at(0), &one = bench.at("decode").at(0),
               &eight = bench.at("decode").at(1);
    EXPECT_EQ(one.at("experts_per_step"), sizes.layers * sizes.top_k);
    const double bytes = one.at("bytes_per_token");
    EXPECT_GE(bytes, one_token);
    EXPECT_LE(bytes, 1.01 * one_token) << "Q8_0 is as large when packed; and a few positions of the cache";
    const double bytes_of_eight = 8 * eight.at("bytes_per_token").get<double>();
    EXPECT_GT(bytes_of_eight, bytes) << "eight sequences choose more experts than one";
    EXPECT_LT(bytes_of_eight, 8 * bytes) << "but read what they share once";
    EXPECT_GT(eight.at("experts_per_step"), one.at("experts_per_step"));
    EXPECT_LE(eight.at("experts_per_step"), sizes.layers * std::min(sizes.n_experts, 8 * sizes.top_k));
    EXPECT_LE(64 * prefill.at("bytes_per_token").get<double>(), 1.05 * (sizes.dense + sizes.experts));
    multiply_adds.insert(one.at("multiply_adds_per_token").get<uint64_t>());
    for (const json& row : {prefill, one, eight}) ExpectSharesOfAllTheTime(row);
  }
  EXPECT_EQ(multiply_adds.size(), 1u);
  EXPECT_GT(*multiply_adds.begin(), 1'000'000u);
}

TEST(Bench, EveryDepthAndBatchIsARow) {
  const json bench = Bench(1, {"-p", "16,80", "-n", "3", "--depth", "65,0", "--batch", "2,1"});
  EXPECT_EQ(bench.at("prefill").size(), 2u);
  std::set<std::pair<int, int>> rows;
  for (const auto& row : bench.at("decode")) {
    rows.emplace(row.at("depth"), row.at("batch"));
    EXPECT_GT(row.at("tokens_per_second").at("median"), 0);
    EXPECT_GT(row.at("compute_share"), 0);
  }
  EXPECT_EQ(rows, (std::set<std::pair<int, int>>{{0, 1}, {0, 2}, {65, 1}, {65, 2}}));
  EXPECT_GT(bench.at("machine").at("read_bytes_per_second_thread"), 1e8);
  EXPECT_GE(bench.at("machine").at("peaks").size(), 2u);
}

TEST(Bench, PeopleGetMarkdown) {
  const auto result = test::Onecopy({"bench", "-p", "16", "-n", "2", "-r", "1"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("| prefill | 16 | 0 | 1 |"));
  EXPECT_THAT(result.out, HasSubstr("| decode | 2 | 0 | 1 |"));
  EXPECT_THAT(result.out, HasSubstr("|---|"));
}

TEST(Bench, ComparesWithAnEarlierRunOfTheSameModelOnly) {
  json earlier = Bench(1, {"-p", "16", "-n", "2"});
  const double median = earlier["decode"][0]["tokens_per_second"]["median"];
  earlier["decode"][0]["tokens_per_second"]["median"] = median / 1000;  // a run that was slower
  const test::TempFile file(".json");
  std::ofstream(file.path()) << earlier;
  const json again = Bench(1, {"-p", "16,20", "-n", "2", "--compare", file.path()});
  EXPECT_GT(again["decode"][0]["ratio_to_earlier"], 50);
  EXPECT_GT(again["prefill"][0]["ratio_to_earlier"], 0);
  EXPECT_FALSE(again["prefill"][1].contains("ratio_to_earlier")) << "20 tokens were not measured then";

  earlier["model"] = "another model";
  std::ofstream(file.path()) << earlier;
  const auto other = test::Onecopy({"bench", "--compare", file.path()});
  EXPECT_EQ(other.exit_code, 3);
  EXPECT_THAT(other.err, HasSubstr("another model"));
  std::ofstream(file.path()) << "not JSON";
  EXPECT_EQ(test::Onecopy({"bench", "--compare", file.path()}).exit_code, 3);
  EXPECT_EQ(test::Onecopy({"bench", "--compare", "/no/such/file"}).exit_code, 3);
}

TEST(Bench, RefusesSequencesBeyondTheContext) {
  const auto result = test::Onecopy({"bench", "-n", "1", "--depth", "100000000"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("context"));
}

}  // namespace
}  // namespace onecopy
