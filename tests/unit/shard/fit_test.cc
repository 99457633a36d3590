// Does it fit, and what would: sentences about places that are too small.
#include "runtime/shard/fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace onecopy::shard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kMb = 1000000;

// A rank on a node of its own that needs 100 MB of weights, 40 MB of cache and 60 MB whatever its share.
proto::RankNeeds Rank(int node, uint64_t available) {
  proto::RankNeeds needs;
  needs.set_host("h");
  needs.set_node(node);
  needs.set_weight_bytes(100 * kMb);
  needs.set_kv_bytes(40 * kMb);
  needs.set_kv_tokens(4096);
  needs.set_workspace_bytes(60 * kMb);
  needs.set_node_available(available);
  needs.set_host_available(UINT64_MAX);
  return needs;
}

TEST(Fit, NothingIsSaidWhereAllFits) {
  EXPECT_EQ(WhyNotFit({Rank(0, 200 * kMb), Rank(1, 200 * kMb)}), "");
}

TEST(Fit, TheTightNodeIsNamedWithNeedAndHave) {
  EXPECT_THAT(
      WhyNotFit({Rank(0, 500 * kMb), Rank(1, 190 * kMb)}),
      AllOf(HasSubstr("NUMA node 1 of host h needs 200 MB for 1 rank (100 MB weights, 40.0 MB KV cache)"),
            HasSubstr("has 190 MB available"), HasSubstr("--balance memory")));
}

TEST(Fit, RanksOfANodeShareIt) {
  EXPECT_EQ(WhyNotFit({Rank(0, 400 * kMb), Rank(0, 400 * kMb)}), "");
  EXPECT_THAT(WhyNotFit({Rank(0, 399 * kMb), Rank(0, 399 * kMb)}), HasSubstr("for 2 ranks"));
}

TEST(Fit, BalanceIsNoRemedyForANodeThatCannotHoldEvenTheProcess) {
  EXPECT_THAT(WhyNotFit({Rank(0, 900 * kMb), Rank(1, 50 * kMb)}), Not(HasSubstr("--balance")));
}

TEST(Fit, AShorterContextIsOfferedWithWhatFits) {
  // 30 MB are left for a cache of 40 MB: three quarters of 4096, in whole pages of 64.
  EXPECT_THAT(WhyNotFit({Rank(0, 190 * kMb)}), HasSubstr("--context 3072"));
  EXPECT_THAT(WhyNotFit({Rank(0, 150 * kMb)}), Not(HasSubstr("--context")));
}

TEST(Fit, NodesLikeTheTightOneAreCounted) {
  // 140 MB to share out, 2 % unevenness, 30 MB a node beside the process: five nodes.
  EXPECT_THAT(WhyNotFit({Rank(0, 90 * kMb)}), HasSubstr("5 nodes like this one"));
}

TEST(Fit, MemoryThatIsLeftAloneIsOfferedWhereItSuffices) {
  proto::RankNeeds needs = Rank(0, 150 * kMb);
  EXPECT_THAT(WhyNotFit({needs}), Not(HasSubstr("--memory-nodes")));
  needs.set_spare_available(50 * kMb);
  EXPECT_THAT(WhyNotFit({needs}), HasSubstr("--memory-nodes all"));
}

TEST(Fit, TheHostsLimitCountsForAllItsRanks) {
  proto::RankNeeds a = Rank(0, 500 * kMb), b = Rank(1, 500 * kMb);
  a.set_host_available(300 * kMb);
  b.set_host_available(300 * kMb);
  EXPECT_THAT(WhyNotFit({a, b}), AllOf(HasSubstr("host h"), HasSubstr("needs 400 MB for 2 ranks")));
}

}  // namespace
}  // namespace onecopy::shard
