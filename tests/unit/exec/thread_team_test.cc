// ThreadTeam: every item once, whatever the threads and cores; and who has not begun is not waited for.
#include "runtime/exec/thread_team.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <random>
#include <thread>
#include <vector>

namespace onecopy::exec {
namespace {

TEST(ThreadTeam, DoesEveryItemOnce) {
  for (const int threads : {1, 2, 3, 8}) {  // more than cores, too
    const ThreadTeam team(threads);
    std::mt19937 random(static_cast<unsigned>(threads));
    std::vector<uint32_t> counts(300), sums(threads);
    uint32_t expected = 0;
    for (int round = 0; round < 2000; ++round) {
      const size_t n = random() % counts.size();
      std::fill(counts.begin(), counts.end(), 0);
      team.For(n, [&](size_t i, int thread) {
        ++counts[i];
        ++sums[thread];
      });
      expected += static_cast<uint32_t>(n);
      for (size_t i = 0; i < counts.size(); ++i)
        ASSERT_EQ(counts[i], i < n ? 1u : 0u) << threads << " threads, round " << round << ", item " << i;
    }
    uint32_t sum = 0;
    for (const uint32_t of_thread : sums) sum += of_thread;
    EXPECT_EQ(sum, expected);
  }
}

TEST(ThreadTeam, SleepersComeBack) {
  const ThreadTeam team(3);
  for (int round = 0; round < 5; ++round) {
    usleep(10'000);  // longer than they spin
    // All of them at once, or this would not end.
    std::atomic<int> present = 0;
    team.For(3, [&](size_t, int) {
      ++present;
      while (present < 3) usleep(10);
    });
  }
}

#ifndef __SANITIZE_THREAD__  // which delivers signals when it sees fit
std::atomic<bool> may_go_on{false}, is_stopped{false};
void StayHere(int) {
  is_stopped = true;
  while (!may_go_on) usleep(100);
}

// As a thread whose core another program has: with OpenMP, whose regions wait for all threads, this would not end.
TEST(ThreadTeam, IsNotHeldUpByAThreadThatDoesNotRun) {
  const ThreadTeam team(2);
  std::atomic<pid_t> worker = 0;
  while (worker == 0)
    team.For(2, [&](size_t, int thread) {
      if (thread == 1) worker = static_cast<pid_t>(syscall(SYS_gettid));
      usleep(1000);
    });
  struct sigaction stay = {}, before = {};
  stay.sa_handler = StayHere;
  ASSERT_EQ(sigaction(SIGUSR1, &stay, &before), 0);
  ASSERT_EQ(syscall(SYS_tgkill, getpid(), worker.load(), SIGUSR1), 0);
  while (!is_stopped) usleep(100);
  std::vector<int> by(100, -1);
  team.For(by.size(), [&](size_t i, int thread) { by[i] = thread; });
  may_go_on = true;
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(by, std::vector<int>(100, 0));
}
#endif

TEST(ThreadTeam, WorkShowsThatOneThreadHadAllOfIt) {
  using namespace std::chrono_literals;
  const ThreadTeam team(2);
  team.For(2, [](size_t i, int) {
    if (i == 0) std::this_thread::sleep_for(40ms);
  });
  const ThreadTeam::Work work = team.work();
  EXPECT_GE(work.wall_seconds, 0.040);
  EXPECT_GE(work.mean_seconds, 0.020);
  EXPECT_LE(work.mean_seconds, work.wall_seconds);
}

}  // namespace
}  // namespace onecopy::exec
