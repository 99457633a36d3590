// Gathers, broadcasts and shared buffers. Every value encodes who wrote it and where, so a wrong exchange
// names its culprit.
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "tests/unit/comm/rank_threads.h"

namespace onecopy::comm {
namespace {

CommOptions SmallWindow(size_t bytes) {
  CommOptions options;
  options.window_bytes = bytes;
  return options;
}

struct ColumnsCase {
  const char* name;
  std::vector<uint32_t> bounds;
  size_t n_rows;
  size_t window_bytes;
};

class GatherColumns : public testing::TestWithParam<ColumnsCase> {};

// 2^24 values are exact in f32: 31 ranks, 16 rows or columns by the remaining digits.
float Code(int rank, size_t row, size_t column) {
  return static_cast<float>((static_cast<size_t>(rank) * 1000 + row % 100 * 10 + row % 7) * 512 +
                            column % 512);
}

TEST_P(GatherColumns, EveryRankHoldsWhatTheOwnersWrote) {
  const ColumnsCase& c = GetParam();
  const int ranks = static_cast<int>(c.bounds.size()) - 1;
  const size_t n_columns = c.bounds.back();
  const auto comms = MakeLocalCommunicators(ranks, SmallWindow(c.window_bytes));
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::vector<float> x(c.n_rows * n_columns + 1, -1.0f);
      for (size_t row = 0; row < c.n_rows; ++row) {
        for (uint32_t j = c.bounds[comm.rank()]; j < c.bounds[comm.rank() + 1]; ++j) {
          x[row * n_columns + j] = Code(comm.rank(), row + repeat, j);
        }
      }
      comm.AllGatherColumns(x.data(), c.n_rows, c.bounds);
      for (size_t row = 0; row < c.n_rows; ++row) {
        for (int owner = 0; owner < ranks; ++owner) {
          for (uint32_t j = c.bounds[owner]; j < c.bounds[owner + 1]; ++j) {
            const float found = x[row * n_columns + j], expected = Code(owner, row + repeat, j);
            Demand(found == expected, "row {}, column {} of rank {}: expected {}, found {}", row, j, owner,
                   expected, found);
          }
        }
      }
      Demand(x.back() == -1.0f, "wrote past the end");
    }
  }));
}

// Each round another rank wants the result; the others are up to a ring of messages ahead.
TEST(GatherColumnsUnwanted, WhoeverWantsItHasItRoundAfterRound) {
  constexpr int kRanks = 3, kRounds = 200, kRows = 2;
  const std::vector<uint32_t> bounds = {0, 5, 9, 20};
  const auto comms = MakeLocalCommunicators(kRanks, SmallWindow(4096));
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    for (int round = 0; round < kRounds; ++round) {
      const bool wanted = round / 20 % kRanks == comm.rank();
      std::vector<float> x(kRows * bounds.back());
      for (size_t row = 0; row < kRows; ++row)
        for (uint32_t j = bounds[comm.rank()]; j < bounds[comm.rank() + 1]; ++j)
          x[row * bounds.back() + j] = Code(comm.rank(), row + round, j);
      comm.AllGatherColumns(x.data(), kRows, bounds, wanted);
      for (int owner = 0; wanted && owner < kRanks; ++owner)
        for (size_t row = 0; row < kRows; ++row)
          for (uint32_t j = bounds[owner]; j < bounds[owner + 1]; ++j)
            Demand(x[row * bounds.back() + j] == Code(owner, row + round, j),
                   "round {}, row {}, column {} of rank {}", round, row, j, owner);
    }
  }));
}

TEST(GatherColumnsUnwanted, NobodyWaitsForWhatHeDoesNotWant) {
  const std::vector<uint32_t> bounds = {0, 4, 8};
  const auto comms = MakeLocalCommunicators(2, SmallWindow(4096));
  std::atomic<bool> ahead{false};
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    std::vector<float> x(8, static_cast<float>(comm.rank()));
    if (comm.rank() == 0)
      while (!ahead) std::this_thread::yield();
    for (int i = 0; i < 4; ++i) comm.AllGatherColumns(x.data(), 1, bounds, comm.rank() == 0);
    ahead = true;
    if (comm.rank() == 0) Demand(x[3] == 0 && x[4] == 1, "found {} and {}", x[3], x[4]);
  }));
}

INSTANTIATE_TEST_SUITE_P(
    Bounds, GatherColumns,
    testing::Values(ColumnsCase{"OneRank", {0, 5}, 3, 4096}, ColumnsCase{"Even", {0, 64, 128, 192}, 7, 4096},
                    ColumnsCase{"Uneven", {0, 1, 64, 65, 300}, 5, 4096},
                    ColumnsCase{"SomeEmpty", {0, 0, 96, 96, 128, 128}, 4, 4096},
                    ColumnsCase{"AllEmpty", {0, 0, 0, 0}, 4, 4096}, ColumnsCase{"NoRows", {0, 3, 6}, 0, 4096},
                    ColumnsCase{"RowsInPieces", {0, 33, 63, 160}, 50, 512},
                    ColumnsCase{"RowLongerThanWindow", {0, 1000, 1003, 2500}, 3, 256},
                    ColumnsCase{"TwentyFour",
                                {0,   32,  64,  96,  128, 160, 192, 224, 256, 288, 320, 352, 384,
                                 416, 448, 480, 512, 544, 576, 608, 640, 672, 704, 736, 768},
                                2,
                                4096}),
    [](const auto& info) { return info.param.name; });

std::vector<uint8_t> Pattern(size_t n, uint64_t key) {
  std::vector<uint8_t> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(Mix(key) >> (i % 57) ^ i * 31);
  return bytes;
}

TEST(Broadcast, RootsBytesArriveAtAnySize) {
  const auto comms = MakeLocalCommunicators(5, SmallWindow(64 << 10));
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    uint64_t key = 0;
    for (const size_t n : {0, 1, 127, 128, 65535, 65536, 65537, 200'000, 5 << 20}) {
      for (const int root : {0, 3}) {
        ++key;
        std::vector<uint8_t> bytes = comm.rank() == root ? Pattern(n, key) : Pattern(17, comm.rank());
        comm.Broadcast(&bytes, root);
        Demand(bytes == Pattern(n, key), "{} bytes from rank {} differ", n, root);
      }
    }
  }));
}

// Root never waits in a broadcast, so it runs ahead; the buffers it reuses must have been read.
TEST(Broadcast, RootThatRunsAheadOverwritesNothingUnread) {
  const auto comms = MakeLocalCommunicators(3, SmallWindow(128));
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    for (uint64_t call = 0; call < 3000; ++call) {
      const auto expected = Pattern(Mix(call) % 400, call);
      std::vector<uint8_t> bytes;
      if (comm.rank() == 0) bytes = expected;
      if (comm.rank() == 2 && call % 100 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
      comm.Broadcast(&bytes, 0);
      Demand(bytes == expected, "the bytes of call {} differ", call);
    }
  }));
}

TEST(AllGatherBytes, SizesMayDiffer) {
  const auto comms = MakeLocalCommunicators(6, SmallWindow(256));
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    for (uint64_t call = 0; call < 20; ++call) {
      const auto size_of = [&](int rank) { return rank == 2 ? 0 : Mix(call * 8 + rank) % 2000; };
      const auto all = comm.AllGatherBytes(Pattern(size_of(comm.rank()), call * 8 + comm.rank()));
      Demand(all.size() == 6, "one part a rank");
      for (int r = 0; r < 6; ++r)
        Demand(all[r] == Pattern(size_of(r), call * 8 + r), "the bytes of rank {} differ", r);
    }
  }));
}

TEST(AllocateShared, EveryRankSeesEveryPartAfterABarrier) {
  const auto comms = MakeLocalCommunicators(4);
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    const auto buffer = comm.AllocateShared(5000);
    ASSERT_EQ(buffer.part.size(), 4u);
    ASSERT_EQ(buffer.bytes_per_rank, 5000u);
    for (uint8_t* part : buffer.part) ASSERT_EQ(reinterpret_cast<uintptr_t>(part) % 4096, 0u);
    for (uint8_t round = 1; round < 50; ++round) {
      std::fill_n(buffer.part[comm.rank_on_host()], 5000, static_cast<uint8_t>(round * 4 + comm.rank()));
      comm.HostBarrier();
      for (int r = 0; r < 4; ++r) {
        Demand(buffer.part[r][0] == round * 4 + r, "the first byte of part {} differs", r);
        Demand(buffer.part[r][4999] == round * 4 + r, "the last byte of part {} differs", r);
      }
      comm.HostBarrier();
    }
  }));
}

TEST(SingleCommunicator, EveryOperationIsTheIdentity) {
  const auto comm = MakeSingleCommunicator();
  EXPECT_EQ(comm->size(), 1);
  EXPECT_EQ(comm->ranks_on_host(), 1);
  std::vector<float> x(10'000);
  std::iota(x.begin(), x.end(), 0.0f);
  const std::vector<float> before = x;
  comm->AllReduceSum(x);
  const std::vector<uint32_t> bounds = {0, 100};
  comm->AllGatherColumns(x.data(), 100, bounds);
  EXPECT_EQ(x, before);
  std::vector<uint8_t> bytes = Pattern(100'000, 1);
  comm->Broadcast(&bytes, 0);
  EXPECT_TRUE(bytes == Pattern(100'000, 1));
  EXPECT_TRUE(comm->AllGatherBytes(bytes)[0] == bytes);
  comm->Barrier();
  comm->Agree("load", nullptr);
  EXPECT_EQ(comm->AllocateShared(10).part.size(), 1u);
  EXPECT_GE(comm->stats().calls, 5u);
}

}  // namespace
}  // namespace onecopy::comm
