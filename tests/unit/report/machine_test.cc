// What is measured must be possible and hang together; how fast this machine is, is its own affair.
#include "runtime/report/machine.h"

#include <gtest/gtest.h>

#include "runtime/report/kernel_rates.h"
#include "tests/support/kernel_table.h"

namespace onecopy::report {
namespace {

TEST(Machine, ThreadsTogetherReadWhatTheyReadApart) {
  const MemoryProbe probe(2, 32 << 20);
  const double together = probe.ReadBandwidth();
  const double of_one = probe.OneThreadBandwidth();
  EXPECT_GT(of_one, 1e8);
  EXPECT_LT(of_one, 1e12);
  const std::vector<double> apart = probe.ThreadBandwidths();
  ASSERT_EQ(apart.size(), 2u);
  EXPECT_GT(together, 50e6);
  EXPECT_LT(together, 10e12);
  // Another program may take a core between the two, but not for long.
  EXPECT_GT(apart[0] + apart[1], together / 20);
}

TEST(Machine, OneThreadOpensNoRegion) {
  EXPECT_EQ(MeasureRegionSeconds(1), 0);
  EXPECT_GT(MeasureRegionSeconds(2), 0);
}

TEST(Machine, SleepingCostsNoLessThanPolling) {
  const double polled = MeasureSignalSeconds(true), slept = MeasureSignalSeconds(false);
  EXPECT_GT(polled, 0);
  EXPECT_GT(slept, 0);
  EXPECT_LT(slept, 0.1);
}

TEST(Machine, EveryTypeOfTheTableHasARateAndUnknownOnesNone) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "rates of sanitised kernels say nothing, and take half a minute";
#endif
  const MemoryProbe probe(1, 8 << 20);
  for (size_t t = 0; t < static_cast<size_t>(kernels::WeightType::kCount); ++t) {
    const auto type = static_cast<kernels::WeightType>(t);
    const bool computes =
        test::AnyTable().weights[t].matmul != nullptr && test::AnyTable().weights[t].matmul_sum != nullptr;
    for (const bool sum : {false, true}) {
      EXPECT_EQ(MeasureMatmulRate(test::AnyTable(), type, sum, 3, 1) > 0, computes);
      EXPECT_EQ(probe.MatmulRate(test::AnyTable(), type, sum) > 0, computes);
    }
    EXPECT_GE(probe.JumpSeconds(test::AnyTable(), type), 0);
    EXPECT_LT(probe.JumpSeconds(test::AnyTable(), type), 0.01);
  }
  const kernels::KernelTable empty{};
  EXPECT_EQ(MeasureMatmulRate(empty, kernels::WeightType::kQ8_0, false, 1, 1), 0);
  EXPECT_EQ(probe.MatmulRate(empty, kernels::WeightType::kQ8_0, true), 0);
}

TEST(Machine, VectorsCostTimeAnElement) {
  const VectorSeconds s = MeasureVectorSeconds(test::AnyTable(), 4, 64);
  for (const double seconds : {s.norm, s.quantize, s.silu, s.softmax, s.add, s.attend}) {
    EXPECT_GT(seconds, 1e-13);
    EXPECT_LT(seconds, 1e-5);
  }
}

}  // namespace
}  // namespace onecopy::report
