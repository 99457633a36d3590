#include "runtime/shard/pack_crew.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <new>
#include <stdexcept>
#include <vector>

namespace onecopy::shard {
namespace {

TEST(PackCrew, DoesEveryTaskOfEveryBatchOnce) {
  for (const int threads : {1, 2, 5}) {
    omp_set_num_threads(threads);
    PackCrew::With([&](PackCrew& crew) {
      for (size_t round = 0; round < 300; ++round) {
        const size_t n = round % 17;
        std::vector<std::atomic<int>> done(n);
        crew.Run(n, [&](size_t i) { ++done[i]; });
        for (size_t i = 0; i < n; ++i) ASSERT_EQ(done[i], 1) << threads << " threads, batch " << round;
      }
    });
  }
}

TEST(PackCrew, FinishesABatchWhoseFirstPartThrows) {
  omp_set_num_threads(3);
  std::atomic<int> done = 0;
  const auto lead = [&](PackCrew& crew) {
    crew.Run(
        50, [&](size_t) { ++done; }, [] { throw std::runtime_error("link down"); });
  };
  EXPECT_THROW(PackCrew::With(lead), std::runtime_error);
  EXPECT_EQ(done, 50);
}

TEST(PackCrew, ATaskThatThrowsIsToldOnceAllThreadsAreThrough) {
  for (const int threads : {1, 3}) {
    omp_set_num_threads(threads);
    std::atomic<int> begun = 0, ended = 0;
    const auto lead = [&](PackCrew& crew) {
      const auto task = [&](size_t i) {
        ++begun;
        if (i == 5) throw std::bad_alloc();
        ++ended;
      };
      EXPECT_THROW(crew.Run(50, task), std::bad_alloc);
      EXPECT_EQ(begun, ended + 1);
      crew.Run(50, [&](size_t) { ++ended; });  // the next batch knows nothing of it
      EXPECT_GE(ended, 55);
    };
    PackCrew::With(lead);
  }
}

}  // namespace
}  // namespace onecopy::shard
