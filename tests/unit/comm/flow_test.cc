// Every algorithm over every shape of message: one phase, two phases, by socket; one piece and many; with a team of
// threads and without; as f64 rows, as bf16 rows. The oracle is a plain loop over ranks in order. f64 terms have 53 bits
// and exponents that vary, so another order of the sum shows, and they encode rank and index, so a wrong exchange names
// its culprit.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "runtime/comm/rank_order_sum.h"
#include "tests/unit/comm/rank_threads.h"

namespace onecopy::comm {
namespace {

CollectivesTable Only(Algorithm algorithm, int ranks, int sockets) {
  return {{{ranks, sockets, SIZE_MAX, algorithm}}};
}

double FlowTerm(int rank, uint64_t call, size_t index) {
  const uint64_t h = Mix(Mix(call * 64 + static_cast<uint64_t>(rank)) ^ index);
  return std::ldexp(static_cast<double>(h >> 11) - 0x1p52, static_cast<int>(h & 15));
}

double FlowSum(int ranks, uint64_t call, size_t index) {
  double sum = FlowTerm(0, call, index);
  for (int r = 1; r < ranks; ++r) sum += FlowTerm(r, call, index);
  return sum;
}

std::string DiagnoseFlow(int ranks, uint64_t call, size_t index, double found) {
  for (int r = 0; r < ranks; ++r) {
    const double missing = FlowSum(ranks, call, index) - FlowTerm(r, call, index);
    if (std::abs(missing - found) <= 1e-9 * std::abs(found))
      return fmt::format("rank {}'s term is missing", r);
    const double stale = missing + FlowTerm(r, call - 1, index);
    if (std::abs(stale - found) <= 1e-9 * std::abs(found))
      return fmt::format("rank {}'s term is from the call before", r);
  }
  return "no single rank explains it (another order of the sum?)";
}

struct RowsShape {
  size_t rows, cols;
};

void ReduceRowsAndCompare(Communicator& comm, RowsShape shape, uint64_t call) {
  std::vector<double> terms(shape.rows * shape.cols);
  for (size_t i = 0; i < terms.size(); ++i) terms[i] = FlowTerm(comm.rank(), call, i);
  std::vector<std::atomic<int>> seen(shape.rows);
  std::vector<double> sums(terms.size());
  comm.AllReduceRows(terms, shape.cols, [&](size_t row, const double* row_sums) {
    seen[row].fetch_add(1);
    std::copy_n(row_sums, shape.cols, sums.data() + row * shape.cols);
  });
  for (size_t row = 0; row < shape.rows; ++row)
    Demand(seen[row] == 1, "row {} came {} times", row, seen[row].load());
  for (size_t i = 0; i < sums.size(); ++i) {
    const double expected = FlowSum(comm.size(), call, i);
    if (memcmp(&expected, &sums[i], sizeof(double)) == 0) continue;
    Demand(false, "call {}, {} x {}, index {} on rank {}: expected {}, found {}: {}", call, shape.rows,
           shape.cols, i, comm.rank(), expected, sums[i], DiagnoseFlow(comm.size(), call, i, sums[i]));
  }
}

// Threads that do every part at once, so that parts that touch each other's data show under ThreadSanitizer.
void RunTeam(size_t n, const std::function<void(size_t)>& body) {
  std::vector<std::thread> threads;
  for (size_t t = 0; t < std::min<size_t>(n, 3); ++t)
    threads.emplace_back([&, t] {
      for (size_t i = t; i < n; i += 3) body(i);
    });
  for (std::thread& thread : threads) thread.join();
}

struct Case {
  Algorithm algorithm;
  std::vector<int> sockets;  // by rank; empty: unknown
  int ranks;
  bool team;
};

class EveryAlgorithm : public testing::TestWithParam<Case> {};

TEST_P(EveryAlgorithm, GivesTheSequentialSumOfEveryRowBitForBit) {
  const Case& c = GetParam();
  CommOptions options;
  options.window_bytes = 8192;
  if (!c.sockets.empty()) options.socket = [&](int r) { return c.sockets[r]; };
  const auto comms = MakeLocalCommunicators(c.ranks, options);
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    comm.UseTable(Only(c.algorithm, c.ranks, comm.sockets()));
    if (c.team) comm.SetTeam(RunTeam);
    uint64_t call = 1;
    // One row, rows that end within a slice, as many pieces as buffers and more, rows longer than the window.
    for (const RowsShape shape :
         {RowsShape{1, 1}, {1, 17}, {1, 1000}, {3, 96}, {10, 100}, {11, 1000}, {200, 96}, {2, 1500}})
      ReduceRowsAndCompare(comm, shape, call++);
    if (c.team) {  // above the least bytes that a team is worth
      ReduceRowsAndCompare(comm, {300, 512}, call++);
      comm.SetTeam(nullptr);
    }
  }));
}

TEST_P(EveryAlgorithm, GivesTheSequentialSumOfFloatsToo) {
  const Case& c = GetParam();
  CommOptions options;
  options.window_bytes = 4096;
  if (!c.sockets.empty()) options.socket = [&](int r) { return c.sockets[r]; };
  const auto comms = MakeLocalCommunicators(c.ranks, options);
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    comm.UseTable(Only(c.algorithm, c.ranks, comm.sockets()));
    uint64_t call = 1;
    for (const size_t n : {1, 33, 1023, 1025, 20'000}) {
      std::vector<float> x(n + 1);
      float* at = x.data() + comm.rank() % 2;
      const auto term = [&](int r, size_t i) { return static_cast<float>(FlowTerm(r, call, i)); };
      for (size_t i = 0; i < n; ++i) at[i] = term(comm.rank(), i);
      comm.AllReduceSum({at, n});
      for (size_t i = 0; i < n; ++i) {
        float expected = term(0, i);
        for (int r = 1; r < comm.size(); ++r) expected += term(r, i);
        Demand(memcmp(&expected, at + i, 4) == 0, "n {}, index {}: expected {}, found {}", n, i, expected,
               at[i]);
      }
      ++call;
    }
  }));
}

std::string NameOfCase(const testing::TestParamInfo<Case>& info) {
  std::string name(NameOf(info.param.algorithm));
  name.erase(std::remove(name.begin(), name.end(), '-'), name.end());
  name += "N" + std::to_string(info.param.ranks);
  if (!info.param.sockets.empty()) {
    name += "Sockets";
    for (const int socket : info.param.sockets) name += std::to_string(socket);
  }
  return name + (info.param.team ? "Team" : "");
}

INSTANTIATE_TEST_SUITE_P(
    Cases, EveryAlgorithm,
    testing::Values(Case{Algorithm::kOnePhase, {}, 2, false}, Case{Algorithm::kOnePhase, {}, 5, true},
                    Case{Algorithm::kTwoPhases, {}, 2, true}, Case{Algorithm::kTwoPhases, {}, 3, false},
                    Case{Algorithm::kTwoPhases, {}, 24, false},
                    Case{Algorithm::kBySocket, {0, 0, 1, 1}, 4, false},
                    Case{Algorithm::kBySocket, {1, 0}, 2, false},                 // socket ids need no order
                    Case{Algorithm::kBySocket, {0, 0, 0, 1, 1}, 5, true},         // uneven
                    Case{Algorithm::kBySocket, {0, 1, 1, 2, 2, 2, 3}, 7, false},  // as many as there may be
                    Case{Algorithm::kBySocket, {0, 1, 0, 1}, 4, false},      // not in one piece: two phases
                    Case{Algorithm::kBySocket, {0, 1, 2, 3, 4}, 5, false}),  // too many: two phases
    NameOfCase);

TEST(Sockets, CountOnlyWhereEachIsKnownAndInOnePiece) {
  const auto sockets = [](std::vector<int> of) {
    CommOptions options;
    options.socket = [&](int r) { return of[static_cast<size_t>(r)]; };
    return MakeLocalCommunicators(static_cast<int>(of.size()), options)[0]->sockets();
  };
  EXPECT_EQ(sockets({0, 0, 1, 1}), 2);
  EXPECT_EQ(sockets({7, 7, 7}), 1);
  EXPECT_EQ(sockets({0, 1, 2, 3}), 4);
  EXPECT_EQ(sockets({0, 1, 0, 1}), 1);
  EXPECT_EQ(sockets({0, -1, 1}), 1);
  EXPECT_EQ(sockets({0, 1, 2, 3, 4}), 1);
}

TEST(Sockets, PartsKnowTheirs) {
  CommOptions options;
  options.socket = [](int r) { return r / 2; };
  const auto comms = MakeLocalCommunicators(6, options);
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    const auto part = comm.Split(comm.rank() < 4 ? 0 : 1);
    Demand(part->sockets() == (comm.rank() < 4 ? 2 : 1), "{} sockets", part->sockets());
  }));
}

// Pieces of one message in flight while the next operation is of another kind: nothing may be read too late.
TEST(Flow, OperationsOfAllKindsFollowEachOtherAtOnce) {
  constexpr int kRanks = 4;
  CommOptions options;
  options.window_bytes = 1024;
  options.socket = [](int r) { return r / 2; };
  const auto comms = MakeLocalCommunicators(kRanks, options);
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    std::mt19937 delays(comm.rank());
    const std::vector<uint32_t> bounds = {0, 3, 3, 40, 41};
    for (uint64_t call = 1; call <= 2'000; ++call) {
      const uint64_t dice = Mix(call);  // the same on all ranks
      if (delays() % 50 == 0) std::this_thread::sleep_for(std::chrono::microseconds(delays() % 300));
      comm.UseTable(Only(kAlgorithms[dice % 3], kRanks, comm.sockets()));
      switch (dice / 3 % 4) {
        case 0:
          ReduceRowsAndCompare(comm, {1 + dice / 16 % 40, 1 + dice / 1024 % 100}, call);
          break;
        case 1: {
          std::vector<uint8_t> bytes(dice / 16 % 3000, static_cast<uint8_t>(call));
          const std::vector<uint8_t> expected = bytes;
          const int root = static_cast<int>(dice / 64 % kRanks);
          if (comm.rank() != root) bytes.clear();
          comm.Broadcast(&bytes, root);
          Demand(bytes == expected, "broadcast of call {}", call);
          break;
        }
        case 2: {
          const size_t rows = 1 + dice / 16 % 60;
          std::vector<float> x(rows * bounds.back());
          const auto code = [&](size_t i) { return static_cast<float>(Mix(call + i) % 100'000); };
          for (size_t i = 0; i < x.size(); ++i) {
            const uint32_t column = i % bounds.back();
            if (column >= bounds[comm.rank()] && column < bounds[comm.rank() + 1]) x[i] = code(i);
          }
          comm.AllGatherColumns(x.data(), rows, bounds);
          for (size_t i = 0; i < x.size(); ++i)
            Demand(x[i] == code(i), "gather of call {}, index {}", call, i);
          break;
        }
        default:
          comm.Barrier();
      }
    }
  }));
}

TEST(Bf16Wire, ErrorOfASumIsAtMost2ToMinus8OfEachTerm) {
  for (const Algorithm algorithm : {Algorithm::kOnePhase, Algorithm::kTwoPhases, Algorithm::kBySocket}) {
    CommOptions options;
    options.wire = CommOptions::Wire::kBf16;
    options.window_bytes = 16 << 10;
    options.socket = [](int r) { return r / 2; };
    constexpr int kRanks = 4;
    constexpr size_t kRows = 64, kCols = 256;
    const auto comms = MakeLocalCommunicators(kRanks, options);
    std::vector<std::vector<float>> by_rank(kRanks);
    double worst = 0, squares = 0, of_sums = 0;
    const auto term = [](int rank, size_t i) { return FlowTerm(rank, 1, i) * 0x1p-60; };
    ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
      comm.UseTable(Only(algorithm, kRanks, comm.sockets()));
      std::vector<double> terms(kRows * kCols);
      for (size_t i = 0; i < terms.size(); ++i) terms[i] = term(comm.rank(), i);
      std::vector<float>& mine = by_rank[comm.rank()];
      mine.resize(terms.size());
      comm.AllReduceRows(terms, kCols, [&](size_t row, const double* sums) {
        for (size_t i = 0; i < kCols; ++i) {
          mine[row * kCols + i] = static_cast<float>(sums[i]);
          Demand(mine[row * kCols + i] == sums[i], "sums are of f32");
        }
      });
    }));
    for (size_t i = 0; i < by_rank[0].size(); ++i) {
      double sum = 0, sizes = 0;
      for (int r = 0; r < kRanks; ++r) {
        sum += term(r, i);
        sizes += std::abs(term(r, i));
      }
      const double error = std::abs(by_rank[0][i] - sum);
      EXPECT_LE(error, 0x1p-8 * sizes + 0x1p-24 * std::abs(sum)) << "index " << i;
      worst = std::max(worst, error / sizes);
      squares += error * error;
      of_sums += sum * sum;
    }
    EXPECT_GT(worst, 0x1p-12) << "nothing was rounded, so bf16 was not used";
    for (int r = 1; r < kRanks; ++r) EXPECT_EQ(by_rank[r], by_rank[0]) << "rank " << r << " has other bits";
    fmt::print("{}: worst error {:.2e} of the terms' sizes, root mean square {:.2e} of the sums'\n",
               NameOf(algorithm), worst, std::sqrt(squares / of_sums));
  }
}

TEST(Bf16Wire, AlgorithmsGiveTheSameBits) {
  std::vector<std::vector<double>> results;
  for (const Algorithm algorithm : {Algorithm::kOnePhase, Algorithm::kTwoPhases}) {
    CommOptions options;
    options.wire = CommOptions::Wire::kBf16;
    const auto comms = MakeLocalCommunicators(3, options);
    results.emplace_back(40 * 100);
    ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
      comm.UseTable(Only(algorithm, 3, 1));
      std::vector<double> terms(40 * 100);
      for (size_t i = 0; i < terms.size(); ++i) terms[i] = FlowTerm(comm.rank(), 5, i);
      comm.AllReduceRows(terms, 100, [&](size_t row, const double* sums) {
        if (comm.rank() == 0) std::copy_n(sums, 100, results.back().data() + row * 100);
      });
    }));
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(Bf16Wire, FewRowsTravelExactly) {
  CommOptions options;
  options.wire = CommOptions::Wire::kBf16;
  const auto comms = MakeLocalCommunicators(3, options);
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    ReduceRowsAndCompare(comm, {kLeastBf16Rows - 1, 500}, 1);
  }));
}

TEST(RoundToBf16, RoundsToNearestEvenAndKeepsSpecials) {
  const auto round = [](double x) {
    uint16_t out;
    RoundToBf16(&x, 1, &out);
    return out;
  };
  EXPECT_EQ(round(1.0), 0x3f80);
  EXPECT_EQ(round(1.0 + 0x1p-8), 0x3f80);            // half way, to even
  EXPECT_EQ(round(1.0 + 3 * 0x1p-8), 0x3f82);        // half way, to even
  EXPECT_EQ(round(1.0 + 0x1p-8 + 0x1p-20), 0x3f81);  // above half way
  EXPECT_EQ(round(-0.0), 0x8000);
  EXPECT_EQ(round(INFINITY), 0x7f80);
  EXPECT_EQ(round(1e300), 0x7f80);
  EXPECT_TRUE((round(NAN) & 0x7f80) == 0x7f80 && (round(NAN) & 0x7f) != 0);
  // Long enough for every vector width, with a tail: as one by one.
  std::vector<double> x;
  std::vector<uint16_t> out(131);
  for (size_t i = 0; i < out.size(); ++i) x.push_back(FlowTerm(0, 0, i));
  RoundToBf16(x.data(), x.size(), out.data());
  for (size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], round(x[i])) << "index " << i;
}

TEST(CollectivesTable, TakesTheNearestRanksAndTheFirstSizeThatReaches) {
  const CollectivesTable table = {{{4, 1, 1000, Algorithm::kOnePhase},
                                   {4, 1, 50'000, Algorithm::kTwoPhases},
                                   {24, 1, 100, Algorithm::kTwoPhases},
                                   {24, 2, 1 << 20, Algorithm::kBySocket}}};
  EXPECT_EQ(table.Choose(1000, 4, 1), Algorithm::kOnePhase);
  EXPECT_EQ(table.Choose(1001, 4, 1), Algorithm::kTwoPhases);
  EXPECT_EQ(table.Choose(1 << 20, 4, 1), Algorithm::kTwoPhases);  // beyond the table: the longest
  EXPECT_EQ(table.Choose(10, 6, 1), Algorithm::kOnePhase);
  EXPECT_EQ(table.Choose(10, 20, 1), Algorithm::kTwoPhases);
  EXPECT_EQ(table.Choose(10, 24, 2), Algorithm::kBySocket);
}

TEST(CollectivesTable, BuiltInChoiceGoesFromOnePhaseToTwoAndBySocketOnlyWhereThereAreSockets) {
  const CollectivesTable table;
  for (const int ranks : {2, 3, 8, 24, 96}) {
    EXPECT_EQ(table.Choose(64, ranks, 1), Algorithm::kOnePhase) << ranks;
    EXPECT_NE(table.Choose(16 << 20, ranks, 1), Algorithm::kBySocket) << ranks;
  }
  EXPECT_EQ(table.Choose(16 << 20, 2, 2), Algorithm::kOnePhase);
  EXPECT_EQ(table.Choose(28 << 10, 24, 1), Algorithm::kTwoPhases);
  EXPECT_EQ(table.Choose(1 << 20, 24, 2), Algorithm::kBySocket);
}

}  // namespace
}  // namespace onecopy::comm
