// Waiting costs no CPU when long, and little time when short.
#include "runtime/comm/wait.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "tests/support/processor_time.h"
#include "tests/unit/comm/rank_threads.h"

namespace onecopy::comm {
namespace {

TEST(WaitPolicy, SpinsOnlyWhereRanksHaveCoresOfTheirOwn) {
  EXPECT_GT(ChooseWaitPolicy(2, 1, 2).spin_ns, 0);
  EXPECT_GT(ChooseWaitPolicy(24, 8, 192).spin_ns, 0);
  EXPECT_EQ(ChooseWaitPolicy(3, 1, 2).spin_ns, 0);
  EXPECT_EQ(ChooseWaitPolicy(2, 2, 3).spin_ns, 0);
}

TEST(Wait, IdleRankUsesNextToNoCpu) {
  const auto comms = MakeLocalCommunicators(2);
  RunRanks(comms, [](Communicator& comm) {
    std::vector<uint8_t> bytes;
    if (comm.rank() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(700));
      comm.Broadcast(&bytes, 0);
      return;
    }
    // It spins for 2 ms at first; the sanitizers slow the rest down.
    EXPECT_LT(test::ThreadSeconds([&] { comm.Broadcast(&bytes, 0); }), 0.03);
    EXPECT_GT(comm.stats().wait_seconds, 0.5);
  });
}

TEST(Wait, SleeperIsWokenAndNotLeftToItsTimeout) {
  // Sleeps would last 10 s, so a lost wake-up is seen.
  const WaitPolicy policy = {0, 0, 10'000'000'000};
  SleepWord words[2];
  constexpr uint32_t kRounds = 20'000;
  int64_t longest_ns[2] = {};
  const auto play = [&](int me) {
    for (uint32_t round = 1; round <= kRounds; ++round) {
      const int64_t begin_ns = NowNs();
      words[me].value.store(round);
      if (words[me].sleepers.load() > 0) FutexWakeAll(words[me].value);
      SleepWord& other = words[1 - me];
      WaitUntil(
          policy, &other, [&] { return other.value.load() >= round; }, [] {});
      longest_ns[me] = std::max(longest_ns[me], NowNs() - begin_ns);
    }
  };
  std::thread opponent(play, 1);
  play(0);
  opponent.join();
  for (const int64_t ns : longest_ns) EXPECT_LT(ns, 8'000'000'000);
}

// What a laptop is asked to do at the slowest. Spinning would cost each rank a scheduler tick a call: 96 ms of processor time.
TEST(Wait, TwentyFourRanksOnFewCoresSleep) {
  constexpr int kCalls = 100;
  const auto comms = MakeLocalCommunicators(24);
  const double seconds = test::ProcessSeconds([&] {
    RunRanks(comms, [&](Communicator& comm) {
      std::vector<float> x(2048, 1.0f);
      for (int call = 0; call < kCalls; ++call) comm.AllReduceSum(x);
    });
  });
  RecordProperty("milliseconds a call", std::to_string(seconds / kCalls * 1000));
  EXPECT_LT(seconds / kCalls, 0.048);
}

}  // namespace
}  // namespace onecopy::comm
