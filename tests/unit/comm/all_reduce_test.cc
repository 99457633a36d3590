// The oracle is a plain loop over ranks in order. Terms have exponents from 2^-8 to 2^7, so a sum in another
// order differs in its last bits, and a term that is missing or stale can be told from the sum.
#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <random>

#include "runtime/comm/rank_order_sum.h"
#include "tests/unit/comm/rank_threads.h"

namespace onecopy::comm {
namespace {

float Term(int rank, uint64_t call, size_t index) {
  const uint64_t h = Mix(Mix(call * 64 + static_cast<uint64_t>(rank)) ^ index);
  const float mantissa = static_cast<float>(static_cast<int32_t>(h >> 40) - (1 << 23));
  return std::ldexp(mantissa, static_cast<int>(h & 15) - 31);
}

float SequentialSum(int ranks, uint64_t call, size_t index, int without = -1) {
  float sum = 0;
  bool first = true;
  for (int r = 0; r < ranks; ++r) {
    if (r == without) continue;
    sum = first ? Term(r, call, index) : sum + Term(r, call, index);
    first = false;
  }
  return sum;
}

// Names the rank whose part is wrong where that can be told.
std::string Diagnose(int ranks, uint64_t call, size_t index, float found) {
  for (int r = 0; r < ranks; ++r) {
    const float without = SequentialSum(ranks, call, index, r);
    const float tolerance = 1e-5f * (std::abs(without) + std::abs(found));
    if (std::abs(without - found) <= tolerance) return fmt::format("rank {}'s term is missing", r);
    if (call == 0) continue;
    const float stale = without + Term(r, call - 1, index);
    if (std::abs(stale - found) <= tolerance) return fmt::format("rank {}'s term is from the call before", r);
  }
  return "no single rank explains it (another order of the sum?)";
}

// Fills, reduces in place and compares bit by bit on the calling rank.
void ReduceAndCompare(Communicator& comm, std::span<float> x, uint64_t call) {
  for (size_t i = 0; i < x.size(); ++i) x[i] = Term(comm.rank(), call, i);
  comm.AllReduceSum(x);
  for (size_t i = 0; i < x.size(); ++i) {
    const float expected = SequentialSum(comm.size(), call, i);
    if (memcmp(&expected, &x[i], sizeof(float)) == 0) continue;
    Demand(false, "call {}, n {}, index {} on rank {}: expected {}, found {}: {}", call, x.size(), i,
           comm.rank(), expected, x[i], Diagnose(comm.size(), call, i, x[i]));
  }
}

class AllReduceAtRanks : public testing::TestWithParam<int> {};

TEST_P(AllReduceAtRanks, EqualsSequentialSumInRankOrderBitForBit) {
  const int ranks = GetParam();
  std::vector<size_t> sizes = {0, 1, 3, 17, 31, 32, 33, 63, 65, 127, 129, 1000, 2048, 7168, 12289, 65537};
  std::mt19937 random(ranks);
  // Log-uniform up to 1e6; few of the largest, as the oracle is slow.
  for (int i = 0; i < 4; ++i) {
    sizes.push_back(static_cast<size_t>(std::pow(10.0, std::uniform_real_distribution(0.0, 6.0)(random))));
  }
  if (ranks <= 3) sizes.push_back(1'000'000);
  const auto comms = MakeLocalCommunicators(ranks);
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    uint64_t call = 0;
    for (const size_t n : sizes) {
      std::vector<float> storage(n + 4);
      // Each rank is misaligned in its own way against vectors of 16 bytes.
      const size_t shift = static_cast<size_t>(comm.rank()) % 4;
      ReduceAndCompare(comm, {storage.data() + shift, n}, call++);
    }
  }));
}

TEST_P(AllReduceAtRanks, MessagesLongerThanTheWindowGoInPieces) {
  CommOptions options;
  options.window_bytes = 512;
  const auto comms = MakeLocalCommunicators(GetParam(), options);
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    for (const size_t n : {127, 128, 129, 1021, 4096}) {
      std::vector<float> x(n);
      ReduceAndCompare(comm, x, n);
    }
  }));
}

// Terms of 53 bits, so a sum that went through f32 anywhere would differ.
TEST_P(AllReduceAtRanks, DoublesEqualTheSequentialSumToo) {
  const auto term = [](int rank, size_t i) {
    return std::ldexp(static_cast<double>(Mix(i * 64 + static_cast<size_t>(rank)) >> 11) - 0x1p52,
                      static_cast<int>(i % 13));
  };
  CommOptions options;
  options.window_bytes = 64 << 10;
  const auto comms = MakeLocalCommunicators(GetParam(), options);
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    for (const size_t n : {0, 1, 15, 16, 17, 33, 1000, 8191, 8193, 30'000}) {
      std::vector<double> x(n);
      for (size_t i = 0; i < n; ++i) x[i] = term(comm.rank(), i);
      comm.AllReduceRows(x, std::max<size_t>(1, n), [&](size_t, const double* sums) {
        for (size_t i = 0; i < n; ++i) {
          double expected = term(0, i);
          for (int r = 1; r < comm.size(); ++r) expected += term(r, i);
          Demand(memcmp(&expected, &sums[i], sizeof(double)) == 0, "n {}, index {}: expected {}, found {}", n,
                 i, expected, sums[i]);
        }
      });
    }
  }));
}

INSTANTIATE_TEST_SUITE_P(Ranks, AllReduceAtRanks, testing::Values(1, 2, 3, 4, 5, 6, 7, 8, 12, 24),
                         [](const auto& info) { return "N" + std::to_string(info.param); });

// Races show when ranks are out of step: each call, some ranks dawdle. 4 ranks use one phase for the small sizes and two
// for the large one. tests/mpi does a million calls over processes.
TEST(AllReduce, StaysRightOverManyCallsWithRandomDelays) {
  constexpr int kRanks = 4;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr uint64_t kCalls = 20'000;
#else
  constexpr uint64_t kCalls = 50'000;
#endif
  const auto comms = MakeLocalCommunicators(kRanks);
  ExpectAllWell(RunRanks(comms, [&](Communicator& comm) {
    std::mt19937 random(comm.rank());
    std::vector<float> storage(8192);
    for (uint64_t call = 0; call < kCalls; ++call) {
      // By call alone: all ranks choose the same size.
      const size_t n = call % 512 == 0 ? 8192 : 1 + Mix(call) % 96;
      const unsigned dice = random() % 64;
      if (dice == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
      if (dice == 1) std::this_thread::yield();
      ReduceAndCompare(comm, std::span(storage).first(n), call);
    }
  }));
}

TEST(AllReduce, KeepsSignedZeroAndInfinity) {
  const auto comms = MakeLocalCommunicators(3);
  ExpectAllWell(RunRanks(comms, [](Communicator& comm) {
    std::vector<float> x = {-0.0f, INFINITY, comm.rank() == 1 ? NAN : 1.0f};
    comm.AllReduceSum(x);
    EXPECT_TRUE(x[0] == 0 && std::signbit(x[0]));
    EXPECT_EQ(x[1], INFINITY);
    EXPECT_TRUE(std::isnan(x[2]));
  }));
}

// The property that the tests above rely on to see an order at all.
TEST(AllReduce, TestTermsShowTheOrderOfTheSum) {
  int differing = 0;
  for (size_t i = 0; i < 1000; ++i) {
    const float forward = (Term(0, 0, i) + Term(1, 0, i)) + Term(2, 0, i);
    const float backward = (Term(2, 0, i) + Term(1, 0, i)) + Term(0, 0, i);
    differing += forward != backward;
  }
  EXPECT_GT(differing, 100);
}

TEST(SumInRankOrder, WritesToAnyAddressAndTouchesNothingBeyond) {
  std::vector<std::vector<float>> in(5, std::vector<float>(100));
  std::vector<const float*> pointers;
  for (size_t r = 0; r < in.size(); ++r) {
    for (size_t i = 0; i < 100; ++i) in[r][i] = Term(static_cast<int>(r), 7, i);
    pointers.push_back(in[r].data());
  }
  for (const size_t n : {0, 1, 31, 32, 33, 64, 99}) {
    for (size_t shift = 0; shift < 4; ++shift) {
      std::vector<uint8_t> out(shift + n * 4 + 8, 0xab);
      SumInRankOrder(out.data() + shift, pointers, 0, n);
      for (size_t i = 0; i < n; ++i) {
        const float expected = SequentialSum(5, 7, i);
        EXPECT_EQ(memcmp(&expected, out.data() + shift + i * 4, 4), 0) << "n " << n << " index " << i;
      }
      EXPECT_THAT(std::vector(out.end() - 8, out.end()), testing::Each(0xab));
    }
  }
}

}  // namespace
}  // namespace onecopy::comm
