// Parts of a communicator, messages from rank to rank, and rows that are used up at once.
#include <gmock/gmock.h>

#include <cstring>
#include <map>

#include "tests/unit/comm/rank_threads.h"

namespace onecopy::comm {
namespace {

using testing::HasSubstr;

TEST(Split, KeepsTheOrderOfRanksAndSumsWithinTheColor) {
  const auto comms = MakeLocalCommunicators(7);
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    const int color = comm.rank() % 3;
    const auto part = comm.Split(color);
    Demand(part->size() == (color == 0 ? 3 : 2) && part->rank() == comm.rank() / 3,
           "wrong place in the part");
    for (int call = 0; call < 50; ++call) {
      std::vector<float> x(300, static_cast<float>(1 << comm.rank()));
      part->AllReduceSum(x);
      const float expected = color == 0 ? 0b1001001 : color == 1 ? 0b0010010 : 0b0100100;
      Demand(x.front() == expected && x.back() == expected, "color {} sums {}", color, x[0]);
      std::vector<float> all(300, 1);
      comm.AllReduceSum(all);
      Demand(all.back() == 7, "the whole communicator works beside its parts");
    }
  }));
}

TEST(Split, MayBeDoneAgainWithOtherColors) {
  const auto comms = MakeLocalCommunicators(4);
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    for (int width = 1; width <= 4; ++width) {
      const auto part = comm.Split(comm.rank() / width);
      std::vector<float> x = {1};
      part->AllReduceSum(x);
      Demand(x[0] == std::min(width, 4 - comm.rank() / width * width), "width {}: {}", width, x[0]);
    }
  }));
}

TEST(Split, AFailureInAPartEndsTheWaitsOfAllRanks) {
  const auto comms = MakeLocalCommunicators(4, Deadline(30));
  const auto outcomes = RunRanks(comms, [](Communicator& comm) {
    const auto part = comm.Split(comm.rank() / 2);
    if (comm.rank() == 3) {
      part->Abandon("its disk is on fire");
      return;
    }
    if (comm.rank() == 0)
      comm.Barrier();  // waits for all
    else
      part->Barrier();  // 2 waits within the part that failed, 1 in the other
  });
  for (int r = 0; r < 3; ++r)
    EXPECT_THAT(outcomes[r].error, HasSubstr("its disk is on fire")) << "rank " << r;
}

TEST(SendReceive, BringsMessagesOfEverySizeInOrder) {
  const auto comms = MakeLocalCommunicators(3);
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    const int to = (comm.rank() + 1) % 3, from = (comm.rank() + 2) % 3;
    for (const size_t n : {0, 1, 4097, 3'000'000}) {
      std::vector<uint8_t> out(n), in(n);
      for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(Mix(i * 4 + comm.rank()));
      comm.Send(out, to);
      comm.Receive(in, from);
      for (size_t i = 0; i < n; ++i)
        Demand(in[i] == static_cast<uint8_t>(Mix(i * 4 + from)), "byte {} of {}", i, n);
    }
  }));
}

TEST(SendReceive, ReceiveGivesUpAtTheDeadlineAndNamesTheSender) {
  const auto comms = MakeLocalCommunicators(2, Deadline(0.1));
  const auto outcomes = RunRanks(comms, [](Communicator& comm) {
    std::vector<uint8_t> in(1);
    if (comm.rank() == 0) comm.Receive(in, 1);
  });
  EXPECT_EQ(outcomes[0].culprit, 1);
  EXPECT_THAT(outcomes[0].error, HasSubstr("rank 1 has not sent within 0.1 s"));
}

TEST(SendReceive, ReceiveEndsWhenAnotherRankFails) {
  const auto comms = MakeLocalCommunicators(3, Deadline(30));
  const auto outcomes = RunRanks(comms, [](Communicator& comm) {
    std::vector<uint8_t> in(1);
    if (comm.rank() == 0) comm.Receive(in, 1);
    if (comm.rank() == 2) comm.Abandon("it saw an error");
  });
  EXPECT_THAT(outcomes[0].error, HasSubstr("it saw an error"));
}

TEST(AllReduceRows, GivesEachRowOnceWithItsSums) {
  const auto comms = MakeLocalCommunicators(5);
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    for (const size_t rows : {0, 1, 3, 200}) {
      constexpr size_t kCols = 96;
      std::vector<double> terms(rows * kCols);
      for (size_t i = 0; i < terms.size(); ++i) terms[i] = static_cast<double>(i * 8 + comm.rank());
      std::map<size_t, int> seen;
      comm.AllReduceRows(terms, kCols, [&](size_t row, const double* sums) {
        ++seen[row];
        for (size_t c = 0; c < kCols; ++c)
          Demand(sums[c] == static_cast<double>((row * kCols + c) * 40 + 10), "row {} column {}", row, c);
      });
      Demand(seen.size() == rows, "every row");
      for (const auto& [row, times] : seen) Demand(times == 1, "row {} came {} times", row, times);
    }
  }));
}

}  // namespace
}  // namespace onecopy::comm
