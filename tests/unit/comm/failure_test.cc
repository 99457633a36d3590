// Ranks that fail, vanish, dawdle or die. Threads stand for ranks where silence is enough; where a death must
// be noticed, ranks are forked processes over anonymous shared memory.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "runtime/comm/faulty_communicator.h"
#include "runtime/comm/liveness.h"
#include "runtime/comm/shm_collectives.h"
#include "tests/unit/comm/rank_threads.h"

namespace onecopy::comm {
namespace {

using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Communicators WithFaults(int ranks, const CommOptions& options, int faulty_rank, std::vector<Fault> script) {
  auto comms = MakeLocalCommunicators(ranks, options);
  comms[faulty_rank] = MakeFaultyCommunicator(std::move(comms[faulty_rank]), std::move(script));
  return comms;
}

void Steps(Communicator& comm, int n_steps) {
  std::vector<float> x(100, 1.0f);
  for (int step = 0; step < n_steps; ++step) {
    comm.SetStage(fmt::format("step {}", step).c_str());
    comm.AllReduceSum(x);
  }
}

TEST(Agree, ThrowsEverywhereWithEveryDistinctMessageAndTheLowestFailingRanksCode) {
  const auto comms = MakeLocalCommunicators(6);
  const auto outcomes = RunRanks(comms, [](Communicator& comm) {
    const Error no_memory(ErrorCode::kNoMemory, fmt::format("rank {} lacks 1 GB", comm.rank()));
    const Error bad_file(ErrorCode::kBadInput, "the file is truncated");
    const bool lacks = comm.rank() == 1, reads_badly = comm.rank() >= 4;
    comm.Agree("load", lacks ? &no_memory : reads_badly ? &bad_file : nullptr);
  });
  for (const RankOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code, ErrorCode::kNoMemory);
    EXPECT_EQ(outcome.error, outcomes[0].error);
    EXPECT_THAT(outcome.error, testing::StartsWith("load failed: rank 1 ("));
    EXPECT_THAT(outcome.error, HasSubstr("rank 1 lacks 1 GB; ranks 4 ("));
    EXPECT_THAT(outcome.error, testing::EndsWith("the file is truncated"));
  }
}

TEST(Agree, LeavesTheCommunicatorUsable) {
  const auto comms = MakeLocalCommunicators(3);
  const auto outcomes = RunRanks(comms, [](Communicator& comm) {
    comm.Agree("open", nullptr);
    const Error error(ErrorCode::kUsage, "no");
    EXPECT_THROW(comm.Agree("load", comm.rank() == 2 ? &error : nullptr), Error);
    Steps(comm, 3);
  });
  for (const RankOutcome& outcome : outcomes) EXPECT_EQ(outcome.error, "");
}

TEST(Failure, VanishedRankIsNamedWithinTheDeadline) {
  const auto comms = WithFaults(4, Deadline(0.5), 2, {{5, Fault::Kind::kVanish}});
  const auto start = Clock::now();
  const auto outcomes = RunRanks(comms, [](Communicator& comm) { Steps(comm, 100); });
  EXPECT_LT(SecondsSince(start), 5);
  for (const int r : {0, 1, 3}) {
    EXPECT_EQ(outcomes[r].culprit, 2) << outcomes[r].error;
    EXPECT_EQ(outcomes[r].code, ErrorCode::kCommunication);
    EXPECT_THAT(outcomes[r].error, HasSubstr(fmt::format("rank 2 (pid {} on ", getpid())));
    EXPECT_THAT(outcomes[r].error, HasSubstr("has not arrived within 0.5 s"));
    EXPECT_THAT(outcomes[r].error, HasSubstr("last stage 'step 5'"));
  }
}

TEST(Failure, StuckRankIsNamedWithItsStage) {
  const auto comms = WithFaults(3, Deadline(0.3), 0, {{2, Fault::Kind::kDelay, 2.0}});
  const auto outcomes = RunRanks(comms, [](Communicator& comm) { Steps(comm, 5); });
  for (const int r : {1, 2}) {
    EXPECT_EQ(outcomes[r].culprit, 0);
    EXPECT_THAT(outcomes[r].error, HasSubstr("last stage 'step 2'"));
  }
  // The late rank learns, when it comes, that the job is over, and from whom.
  EXPECT_EQ(outcomes[0].error, outcomes[1].error);
}

TEST(Failure, DelayShorterThanTheDeadlineIsNoFailure) {
  const auto comms = WithFaults(3, Deadline(5), 1, {{1, Fault::Kind::kDelay, 0.3}});
  for (const RankOutcome& outcome : RunRanks(comms, [](Communicator& comm) {
         Steps(comm, 5);
         EXPECT_GT(comm.stats().wait_seconds, comm.rank() == 1 ? -1 : 0.2);
       })) {
    EXPECT_EQ(outcome.error, "");
  }
}

// Ranks load at different speeds, so set-up has a deadline of its own.
TEST(Failure, AgreeWaitsLongerThanAStepDoes) {
  CommOptions options = Deadline(0.1);
  options.setup_deadline_seconds = 1;
  const auto late_for_a_step = RunRanks(WithFaults(3, options, 2, {{0, Fault::Kind::kDelay, 0.4}}),
                                        [](Communicator& comm) { comm.Agree("load", nullptr); });
  for (const RankOutcome& outcome : late_for_a_step) EXPECT_EQ(outcome.error, "");
  const auto late_for_set_up = RunRanks(WithFaults(3, options, 2, {{0, Fault::Kind::kDelay, 1.5}}),
                                        [](Communicator& comm) { comm.Agree("load", nullptr); });
  for (const int r : {0, 1}) EXPECT_THAT(late_for_set_up[r].error, HasSubstr("has not arrived within 1 s"));
}

TEST(Failure, RankThatAbandonsFailsTheOthersAtOnceWithItsReason) {
  const auto comms = WithFaults(4, Deadline(60), 3, {{2, Fault::Kind::kThrow}});
  const auto start = Clock::now();
  const auto outcomes = RunRanks(comms, [](Communicator& comm) {
    try {
      Steps(comm, 5);
    } catch (const CommError&) {
      throw;
    } catch (const Error& e) {
      comm.Abandon(e.what());
      throw;
    }
  });
  EXPECT_LT(SecondsSince(start), 2);
  for (const int r : {0, 1, 2}) {
    EXPECT_EQ(outcomes[r].culprit, 3);
    EXPECT_THAT(outcomes[r].error, HasSubstr("rank 3 (pid"));
    EXPECT_THAT(outcomes[r].error, HasSubstr("failed in stage 'step 2': rank 3 fails at call 2"));
  }
}

// An idle worker waits in Broadcast, which has no deadline; a reason to end must reach it there too.
TEST(Failure, IdleRanksLearnThatAnotherAbandoned) {
  const auto comms = MakeLocalCommunicators(3, Deadline(0.2));
  const auto outcomes = RunRanks(comms, [](Communicator& comm) {
    std::vector<uint8_t> bytes;
    if (comm.rank() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(600));  // three deadlines: idle is no failure
      comm.Abandon("interrupted");
    } else {
      comm.Broadcast(&bytes, 0);
    }
  });
  EXPECT_EQ(outcomes[0].error, "");
  for (const int r : {1, 2}) EXPECT_THAT(outcomes[r].error, HasSubstr("interrupted"));
}

TEST(Failure, CommunicatorDestroyedByAnExceptionTellsTheOthers) {
  auto comms = MakeLocalCommunicators(2, Deadline(60));
  std::thread failing([comm = std::move(comms[1])]() mutable {
    try {
      const auto owned = std::move(comm);
      throw std::runtime_error("out of luck");
    } catch (const std::runtime_error&) {
    }
  });
  try {
    comms[0]->Barrier();
    ADD_FAILURE() << "the barrier returned";
  } catch (const CommError& e) {
    EXPECT_EQ(e.culprit(), 1);
  }
  failing.join();
}

TEST(Failure, RankThatLeavesInPeaceIsNamedByOneThatStillWaits) {
  auto comms = MakeLocalCommunicators(2, Deadline(60));
  comms[1]->SetStage("shutdown");
  comms[1].reset();
  try {
    comms[0]->Barrier();
    ADD_FAILURE() << "the barrier returned";
  } catch (const CommError& e) {
    EXPECT_EQ(e.culprit(), 1);
    EXPECT_THAT(e.what(), HasSubstr("left the job after stage 'shutdown'"));
  }
}

TEST(Failure, FlippedBitMakesExactlyOneRankDiffer) {
  // Calls 0, 2, 4 are the sums, 1, 3, 5 the gathers.
  const auto comms = WithFaults(3, {}, 1, {{2, Fault::Kind::kFlipBit, 0, 77}});
  const auto outcomes = RunRanks(comms, [](Communicator& comm) {
    for (int round = 0; round < 3; ++round) {
      std::vector<float> x(10, 1.0f);
      comm.AllReduceSum(x);
      std::vector<uint8_t> bytes(40);
      memcpy(bytes.data(), x.data(), 40);
      const auto all = comm.AllGatherBytes(bytes);
      EXPECT_EQ(all[0], all[2]);
      EXPECT_EQ(all[0] == all[1], round != 1);
      EXPECT_EQ(all[0][9] ^ all[1][9], round == 1 ? 1 << 5 : 0);  // bit 77
    }
  });
  for (const RankOutcome& outcome : outcomes) EXPECT_EQ(outcome.error, "");
}

// ---- processes ----

// Ranks as forked processes over one anonymous mapping, which ends with them.
class ForkedRanks : public testing::Test {
 protected:
  static constexpr size_t kWindow = 4096;
  static constexpr int kSurvivorsExit = 5;

  struct Shared {
    std::atomic<int> attached{0};
    std::atomic<uint64_t> steps{0};
    SharedText<512> message[8];
  };

  void Start(int ranks, bool idle) {
    const size_t bytes = ranks * RegionBytes(kWindow) + 2 * 4096;
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    static_assert(sizeof(Shared) <= 2 * 4096);
    shared_ = new (at) Shared;
    for (int r = 0; r < ranks; ++r) {
      const pid_t pid = fork();
      ASSERT_GE(pid, 0);
      if (pid == 0) RunRank(r, ranks, static_cast<uint8_t*>(at) + 2 * 4096, idle);
      pids_.push_back(pid);
    }
    while (shared_->steps < 100) usleep(1000);
  }

  // Never returns into the test program: its other state belongs to the parent.
  [[noreturn]] void RunRank(int rank, int ranks, uint8_t* memory, bool idle) {
    std::vector<uint8_t*> regions;
    for (int r = 0; r < ranks; ++r) regions.push_back(memory + r * RegionBytes(kWindow));
    InitRegion(regions[rank], rank);
    for (shared_->attached.fetch_add(1); shared_->attached < ranks;) usleep(100);
    int exit_code = 0;
    try {
      ShmCollectives comm(rank, regions, {kWindow, deadline_seconds_, 30, 1});
      std::vector<float> x(300, 1.0f);
      std::vector<uint8_t> bytes;
      for (int step = 0;; ++step) {
        if (step % 10 == 0) comm.sync().SetStage(fmt::format("step {}", step / 10 * 10).c_str());
        set_up_ ? comm.Barrier() : comm.AllReduceSum(x);
        if (rank == 0) shared_->steps.fetch_add(1);
        // Rank 0 has nothing to do for a long time, and says nothing.
        if (idle && step == 200) rank == 0 ? static_cast<void>(sleep(20)) : comm.Broadcast(&bytes, 0);
      }
    } catch (const Error& e) {
      shared_->message[rank].Store(e.what());
      exit_code = kSurvivorsExit;
    }
    _exit(exit_code);
  }

  // Waits for `rank` to end by itself; returns the exit code, or -1 after `seconds`.
  int Join(int rank, double seconds) {
    for (const auto start = Clock::now(); SecondsSince(start) < seconds; usleep(1000)) {
      int status = 0;
      if (waitpid(pids_[rank], &status, WNOHANG) == pids_[rank]) {
        pids_[rank] = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
    }
    return -1;
  }

  void ExpectNamed(int culprit, const char* what, const std::vector<int>& survivors) {
    for (const int r : survivors) {
      EXPECT_EQ(Join(r, 5), kSurvivorsExit) << "rank " << r << " did not end";
      const std::string message = shared_->message[r].Load();
      EXPECT_THAT(message, HasSubstr(fmt::format("rank {} (pid {} on ", culprit, culprit_pid_)));
      EXPECT_THAT(message, HasSubstr(what));
      EXPECT_THAT(message, HasSubstr("in stage 'step "));
      EXPECT_THAT(message, HasSubstr("the job ends here"));
    }
  }
  void ExpectDeathNamed(int dead, const std::vector<int>& survivors) { ExpectNamed(dead, "died", survivors); }
  void ExpectStopNamed(int stopped, const std::vector<int>& survivors) {
    ExpectNamed(stopped, "has been stopped (by SIGSTOP or a debugger) for 0.3 s", survivors);
  }

  void Send(int rank, int signal) {
    culprit_pid_ = pids_[rank];
    kill(culprit_pid_, signal);
  }
  void Kill(int rank) { Send(rank, SIGKILL); }

  void TearDown() override {
    for (const pid_t pid : pids_) {
      if (pid == 0) continue;
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }

  Shared* shared_ = nullptr;
  std::vector<pid_t> pids_;
  pid_t culprit_pid_ = 0;
  double deadline_seconds_ = 30;
  bool set_up_ = false;  // the ranks come together in Barrier, whose deadline is long
};

TEST_F(ForkedRanks, KilledRankThatIsAZombieIsNamedInSeconds) {
  Start(4, /*idle=*/false);
  Kill(2);  // not reaped until the others have ended
  ExpectDeathNamed(2, {0, 1, 3});
}

TEST_F(ForkedRanks, KilledAndReapedRankIsNamedInSeconds) {
  Start(3, /*idle=*/false);
  Kill(0);  // rank 0's header holds the gate: its memory stays
  EXPECT_EQ(Join(0, 5), 128 + SIGKILL);
  ExpectDeathNamed(0, {1, 2});
}

TEST_F(ForkedRanks, DeathAmongIdleRanksIsNoticedWithoutADeadline) {
  Start(4, /*idle=*/true);
  while (shared_->steps < 200) usleep(1000);
  usleep(300'000);
  Kill(3);
  ExpectDeathNamed(3, {1, 2});
}

TEST_F(ForkedRanks, DeathOfTheRankBehindTheAwaitedOneIsNoticedToo) {
  Start(4, /*idle=*/true);
  while (shared_->steps < 200) usleep(1000);
  usleep(300'000);
  Kill(1);  // rank 0 would watch it, were it waiting
  ExpectDeathNamed(1, {2, 3});
}

TEST_F(ForkedRanks, AStoppedRankAmongIdleRanksIsNoticedAtTheDeadlineOfAStep) {
  deadline_seconds_ = 0.3;
  for (const int stopped : {0, 1, 3}) {
    Start(4, /*idle=*/true);
    while (shared_->steps < 200) usleep(1000);
    usleep(600'000);  // two deadlines: idle is no failure
    Send(stopped, SIGSTOP);
    std::vector<int> survivors = {1, 2, 3};
    survivors.erase(std::remove(survivors.begin(), survivors.end(), stopped), survivors.end());
    ExpectStopNamed(stopped, survivors);
    TearDown();
    pids_.clear();
  }
}

TEST_F(ForkedRanks, StopsThatAreShortAreNoFailureHoweverMany) {
  deadline_seconds_ = 0.5;
  Start(3, /*idle=*/false);
  for (int stop = 0; stop < 4; ++stop) {
    Send(1, SIGSTOP);
    usleep(250'000);  // long enough to be seen
    const uint64_t before = shared_->steps;
    Send(1, SIGCONT);
    for (int i = 0; i < 5000 && shared_->steps < before + 50; ++i) usleep(1000);
    EXPECT_GE(shared_->steps, before + 50) << shared_->message[0].Load();
  }
}

TEST_F(ForkedRanks, AStoppedRankInSetUpIsNoticedLongBeforeTheDeadlineOfSetUp) {
  deadline_seconds_ = 0.3;
  set_up_ = true;
  Start(3, /*idle=*/false);
  Send(1, SIGSTOP);
  ExpectStopNamed(1, {0, 2});
}

TEST(Liveness, TellsLivingFromDeadFromReusedPid) {
  EXPECT_TRUE(IsAlive(ThisProcess()));
  ProcessIdentity reused = ThisProcess();
  reused.start_time += 1;
  EXPECT_FALSE(IsAlive(reused)) << "same pid, other start time: another process";
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  EXPECT_TRUE(IsAlive({child, 0}));
  kill(child, SIGKILL);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_FALSE(IsAlive({child, 0})) << "a zombie is dead";
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(IsAlive({child, 0}));
}

}  // namespace
}  // namespace onecopy::comm
