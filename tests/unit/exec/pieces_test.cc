#include "runtime/exec/pieces.h"

#include <gmock/gmock.h>

#include <optional>

namespace onecopy::exec {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kManyFrom = 3;

// n_prompt: all of them where it is left out.
proto::Step StepOfSlots(const std::vector<uint32_t>& slots, std::optional<uint32_t> n_prompt = {}) {
  proto::Step step;
  for (const uint32_t slot : slots) step.add_slots(slot), step.add_tokens(1);
  step.set_prompt_tokens(n_prompt.value_or(static_cast<uint32_t>(slots.size())));
  return step;
}

TEST(Pieces, AStepOfSlotsOneSequenceIsAsItIs) {
  Pieces pieces(kManyFrom);
  pieces.SetStep(StepOfSlots({7, 7, 7}));
  EXPECT_EQ(pieces.all().n_many, 3u);
  EXPECT_THAT(pieces.all().order, IsEmpty());
  pieces.SetStep(StepOfSlots({7, 7}));
  EXPECT_EQ(pieces.all().n_many, 0u);
}

TEST(Pieces, TokensThatAreDecodedAreFew) {
  Pieces pieces(kManyFrom);
  pieces.SetStep(StepOfSlots({7, 7, 7, 7}, /*n_prompt=*/0));
  EXPECT_EQ(pieces.all().n_many, 0u);
  Pieces one_kernel(SIZE_MAX);
  one_kernel.SetStep(StepOfSlots({7, 7, 7, 7}));
  EXPECT_EQ(one_kernel.all().n_many, 0u);
}

TEST(Pieces, TokensThatAreDecodedBesidePromptsAreFew) {
  Pieces pieces(kManyFrom);
  pieces.SetStep(StepOfSlots({2, 2, 2, 5, 8, 8, 8, 8, 9}, /*n_prompt=*/4));
  EXPECT_EQ(pieces.all().n_many, 3u);
  EXPECT_THAT(pieces.all().order, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  const RowSplit& some = pieces.Of(std::vector<uint32_t>{4, 5, 6, 7, 0, 1, 2});
  EXPECT_EQ(some.n_many, 3u);
  EXPECT_THAT(some.order, ElementsAre(4, 5, 6, 0, 1, 2, 3));
  EXPECT_EQ(pieces.Of(std::vector<uint32_t>{4, 5, 6, 7}).n_many, 0u);
}

TEST(Pieces, OnlyTokensOfTheOwnSequenceCount) {
  Pieces pieces(kManyFrom);
  pieces.SetStep(StepOfSlots({4, 4, 0, 0, 0, 9, 4, 9}));
  EXPECT_EQ(pieces.all().n_many, 6u);
  EXPECT_THAT(pieces.all().order, ElementsAre(0, 1, 2, 3, 4, 6, 5, 7));
  EXPECT_EQ(pieces.all().At(5), 6u);
  // Of some of them, as of the rows of logits.
  const RowSplit& some = pieces.Of(std::vector<uint32_t>{1, 2, 3, 4, 7});
  EXPECT_EQ(some.n_many, 3u);
  EXPECT_THAT(some.order, ElementsAre(1, 2, 3, 0, 4));
  EXPECT_EQ(pieces.Of(std::vector<uint32_t>{1, 2, 3, 5, 7}).n_many, 0u);
}

TEST(Pieces, EntriesOfExpertsKeepTheirWeights) {
  Pieces pieces(kManyFrom);
  pieces.SetStep(StepOfSlots({1, 1, 2, 2, 2, 2}));
  Routing routing;
  routing.groups = {{0, 0, 2}, {5, 2, 7}, {kSharedExpert, 7, 10}};
  routing.tokens = {0, 3, /**/ 0, 2, 3, 1, 5, /**/ 2, 3, 4};
  routing.weights = {0, 3, /**/ 10, 12, 13, 11, 15, /**/ 22, 23, 24};
  routing.input_weights = {0, -3, /**/ -10, -12, -13, -11, -15, /**/ -22, -23, -24};
  pieces.Order(&routing);
  EXPECT_EQ(routing.groups[0].n_many, 0u);
  EXPECT_EQ(routing.groups[1].n_many, 3u);
  EXPECT_EQ(routing.groups[2].n_many, 3u);
  EXPECT_THAT(routing.tokens, ElementsAre(0, 3, 2, 3, 5, 0, 1, 2, 3, 4));
  EXPECT_THAT(routing.weights, ElementsAre(0, 3, 12, 13, 15, 10, 11, 22, 23, 24));
  EXPECT_THAT(routing.input_weights, ElementsAre(0, -3, -12, -13, -15, -10, -11, -22, -23, -24));
}

}  // namespace
}  // namespace onecopy::exec
