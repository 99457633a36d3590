#include "runtime/exec/step_times.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace onecopy::exec {
namespace {

TEST(PhaseClock, TimeBelongsToThePhaseThatWasEntered) {
  using namespace std::chrono_literals;
  StepTimes times;
  PhaseClock clock(&times);
  const auto begin = std::chrono::steady_clock::now();
  clock.Start(Phase::kRest);
  clock.Enter(Phase::kAttention);
  std::this_thread::sleep_for(20ms);
  clock.Enter(Phase::kExperts);
  std::this_thread::sleep_for(5ms);
  clock.Stop();
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
  std::this_thread::sleep_for(20ms);  // between steps: nobody's
  clock.Start(Phase::kHead);
  clock.Stop();
  EXPECT_GE(times[Phase::kAttention], 0.020);
  EXPECT_GE(times[Phase::kExperts], 0.005);
  EXPECT_LT(times[Phase::kHead], 0.020);
  EXPECT_LE(times.total_seconds() - times[Phase::kHead], all.count());
  EXPECT_EQ(times[Phase::kRouter], 0);
}

}  // namespace
}  // namespace onecopy::exec
