#include "runtime/cli/draft_length.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>


namespace onecopy::cli {
namespace {

// A text whose guesses are right with some probability in a hundred, on a machine where each further token of a step adds
// `growth` of a step's time. Returns the tokens a second over those of plain steps.
struct Text {
  int right_in_100;
  double growth;
};
double Speedup(const Text& text, DraftLength length) {
  uint32_t state = 1;
  const auto is_right = [&] {
    state = state * 1664525u + 1013904223u;
    return static_cast<int>((state >> 16) % 100) < text.right_in_100;
  };
  double seconds = 0;
  uint64_t tokens = 0;
  while (tokens < 5000) {
    const uint32_t n = length.Next();
    const double step = 0.010 * (1 + text.growth * n);
    seconds += step;
    length.ObserveStep(n, step);
    uint32_t right = 0;
    while (right < n && is_right()) ++right;
    if (n > 0)
      length.ObserveGuess(std::min(right + 1, n), right);
    else
      length.ObserveGuess(1, is_right());
    tokens += right + 1;
  }
  return static_cast<double>(tokens) * 0.010 / seconds;
}

TEST(DraftLength, AlwaysIsAlwaysTheSame) {
  DraftLength length = DraftLength::Always(3);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(length.Next(), 3u);
    length.ObserveStep(3, 1.0);
    length.ObserveGuess(1, 0);
  }
  EXPECT_EQ(DraftLength::Always(0).Next(), 0u);
}

TEST(DraftLength, TheFirstStepMeasuresAStepWithoutGuesses) {
  DraftLength length = DraftLength::AsPays();
  EXPECT_EQ(length.Next(), 0u);
  length.ObserveStep(0, 0.01);
  EXPECT_GT(length.Next(), 0u);
}

TEST(DraftLength, AsPaysGainsWhereGuessesAreRight) {
  EXPECT_GT(Speedup({95, 0.1}, DraftLength::AsPays()), 2.5);
  EXPECT_GT(Speedup({80, 0.1}, DraftLength::AsPays()), 1.7);
  EXPECT_GT(Speedup({95, 0.5}, DraftLength::AsPays()), 1.2);
}

TEST(DraftLength, AsPaysLosesNearlyNothingWhereTheyAreNot) {
  for (const Text& text : {Text{0, 0.1}, {5, 0.5}, {30, 0.5}, {60, 0.8}, {95, 1.0}, {50, 3.0}}) {
    SCOPED_TRACE(std::to_string(text.right_in_100) + " % right, growth " + std::to_string(text.growth));
    EXPECT_GT(Speedup(text, DraftLength::AsPays()), 0.97);
  }
  EXPECT_LT(Speedup({30, 0.5}, DraftLength::Always(4)), 0.6) << "where it would lose much";
}

// One slow step, by other programs, must not end guesses for ever.
TEST(DraftLength, ABadMomentIsForgotten) {
  DraftLength length = DraftLength::AsPays();
  length.ObserveStep(0, 0.010);
  length.ObserveGuess(20, 20);
  ASSERT_GT(length.Next(), 0u);
  length.ObserveStep(1, 0.200);
  ASSERT_EQ(length.Next(), 0u);
  int steps = 0;
  for (; length.Next() == 0 && steps < 2000; ++steps) {
    length.ObserveStep(0, 0.010);
    length.ObserveGuess(1, 1);
  }
  EXPECT_LT(steps, 1000);
}

}  // namespace
}  // namespace onecopy::cli
