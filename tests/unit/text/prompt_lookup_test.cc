#include "runtime/text/prompt_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace onecopy::text {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

PromptLookup After(const std::vector<int32_t>& tokens) {
  PromptLookup lookup;
  lookup.Push(tokens);
  return lookup;
}

TEST(PromptLookup, GuessesWhatFollowedTheSameEndBefore) {
  EXPECT_THAT(After({1, 2, 3, 4, 5, 9, 1, 2}).Draft(3), ElementsAre(3, 4, 5));
  EXPECT_THAT(After({1, 2, 3, 4, 5, 9, 1, 2}).Draft(1), ElementsAre(3));
}

TEST(PromptLookup, WithoutARepeatedPairThereIsNoGuess) {
  EXPECT_THAT(After({}).Draft(4), IsEmpty());
  EXPECT_THAT(After({7}).Draft(4), IsEmpty());
  EXPECT_THAT(After({7, 7}).Draft(4), IsEmpty()) << "the end itself is no earlier place";
  EXPECT_THAT(After({1, 2, 3, 1, 3, 2, 1}).Draft(4), IsEmpty());
}

TEST(PromptLookup, ALongerEndCountsMoreThanALaterPlace) {
  EXPECT_THAT(After({1, 2, 3, 10, 2, 3, 11, 1, 2, 3}).Draft(1), ElementsAre(10));
}

TEST(PromptLookup, OfEqualEndsTheLatestCounts) {
  EXPECT_THAT(After({1, 2, 10, 1, 2, 11, 1, 2}).Draft(1), ElementsAre(11));
}

TEST(PromptLookup, AGuessThatReachesTheEndGoesOnWithItself) {
  EXPECT_THAT(After({1, 2, 3, 1, 2, 3}).Draft(7), ElementsAre(1, 2, 3, 1, 2, 3, 1));
  EXPECT_THAT(After({5, 5, 5}).Draft(4), ElementsAre(5, 5, 5, 5));
}

// Against a plain search from the end, over texts of few different tokens.
TEST(PromptLookup, IsThePlainSearch) {
  std::mt19937 random(1);
  for (int text = 0; text < 200; ++text) {
    std::vector<int32_t> tokens(random() % 60);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 4);
    std::vector<int32_t> want;
    for (size_t length : PromptLookup::kLengths) {
      for (size_t at = tokens.size(); want.empty() && at-- > length;)
        if (std::equal(tokens.end() - static_cast<ptrdiff_t>(length), tokens.end(),
                       tokens.begin() + static_cast<ptrdiff_t>(at - length)))
          want.assign(1, tokens[at]);
      if (!want.empty()) break;
    }
    EXPECT_EQ(After(tokens).Draft(1), want) << "text " << text;
  }
}

}  // namespace
}  // namespace onecopy::text
