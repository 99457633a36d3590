// Waiting costs no CPU when long, and little time when short.
#include "runtime/comm/wait.h"

#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "tests/unit/comm/rank_threads.h"

namespace onecopy::comm {
namespace {

int64_t ThreadCpuNs() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

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
    const int64_t before_ns = ThreadCpuNs();
    comm.Broadcast(&bytes, 0);
    // It spins for 2 ms at first; the sanitizers slow the rest down.
    EXPECT_LT(ThreadCpuNs() - before_ns, 30'000'000);
    EXPECT_GT(comm.stats().wait_seconds, 0.5);
  });
}

TEST(Wait, SleeperIsWokenAndNotLeftToItsTimeout) {
  // Sleeps would last 10 s, so one lost wake-up fails the test.
  const WaitPolicy policy = {0, 0, 10'000'000'000};
  SleepWord words[2];
  constexpr uint32_t kRounds = 20'000;
  const auto start_ns = NowNs();
  const auto play = [&](int me) {
    for (uint32_t round = 1; round <= kRounds; ++round) {
      words[me].value.store(round);
      if (words[me].sleepers.load() > 0) FutexWakeAll(words[me].value);
      SleepWord& other = words[1 - me];
      WaitUntil(
          policy, &other, [&] { return other.value.load() >= round; }, [] {});
    }
  };
  std::thread opponent(play, 1);
  play(0);
  opponent.join();
  EXPECT_LT(NowNs() - start_ns, 8'000'000'000);
}

// The median over calls of the slowest thing that a laptop is asked to do. The limit is loose, as other
// programs and sanitizers share the machine; what it rules out is spinning, which costs a scheduler tick a
// rank.
TEST(Wait, TwentyFourRanksOnFewCoresGetOn) {
  const auto comms = MakeLocalCommunicators(24);
  std::vector<int64_t> took_ns;
  RunRanks(comms, [&](Communicator& comm) {
    std::vector<float> x(2048, 1.0f);
    for (int call = 0; call < 100; ++call) {
      const int64_t start_ns = NowNs();
      comm.AllReduceSum(x);
      if (comm.rank() == 0) took_ns.push_back(NowNs() - start_ns);
    }
  });
  ASSERT_EQ(took_ns.size(), 100u);
  std::nth_element(took_ns.begin(), took_ns.begin() + 50, took_ns.end());
  EXPECT_LT(took_ns[50], 20'000'000);
}

}  // namespace
}  // namespace onecopy::comm
