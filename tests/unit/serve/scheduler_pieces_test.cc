// Which pieces of prompts a step reads, and how many of them.
#include <map>
#include <set>

#include "tests/unit/serve/scheduler_fixture.h"

namespace onecopy::serve {
namespace {

using test::Expected;
using test::kLimits;
using test::Prompt;
using test::Recorder;
using test::SchedulerTest;

constexpr StepEngine::Limits Fixed() {
  StepEngine::Limits limits = kLimits;
  limits.fixed_chunks = true;
  return limits;
}

// By slot, the first position that a step reads of its prompt, and the one behind the last.
std::map<uint32_t, std::pair<uint32_t, uint32_t>> PiecesOf(const proto::Step& step) {
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> pieces;
  for (int t = 0; t < static_cast<int>(step.prompt_tokens()); ++t) {
    const auto [piece, fresh] = pieces.try_emplace(step.slots(t), step.positions(t), step.positions(t));
    EXPECT_EQ(piece->second.second, step.positions(t));
    ++piece->second.second;
  }
  return pieces;
}

// A table whose kernels count a prompt's tokens gets the same pieces of every prompt, whatever is read beside it.
TEST_F(SchedulerTest, FixedChunksAreTheSameForEveryPrompt) {
  Make(Fixed());
  std::set<std::pair<uint32_t, uint32_t>> pieces;
  size_t shared_steps = 0;
  engine->on_step = [&](const proto::Step& step) {
    now += std::chrono::milliseconds(step.tokens_size());
    if (step.prompt_tokens() == 0) return;
    const auto of_step = PiecesOf(step);
    shared_steps += of_step.size() > 1;
    for (const auto& [slot, piece] : of_step) pieces.insert(piece);
  };
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 6; ++i) sinks.push_back(Add(Prompt(75, i / 2), 8));
  for (int i = 6; i < 9; ++i) sinks.push_back(Add(Prompt(20, i), 8));
  Run();
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(sinks[static_cast<size_t>(i)]->tokens, Expected(Prompt(75, i / 2), 8));
  for (int i = 6; i < 9; ++i) EXPECT_EQ(sinks[static_cast<size_t>(i)]->tokens, Expected(Prompt(20, i), 8));
  EXPECT_EQ(sinks[1]->finish->cached_tokens, 64u);
  EXPECT_GT(shared_steps, 0u);
  using Piece = std::pair<uint32_t, uint32_t>;
  EXPECT_THAT(pieces, testing::ElementsAre(Piece(0, 20), Piece(0, 32), Piece(32, 64), Piece(64, 75)));
}

TEST_F(SchedulerTest, ShortPromptsOfFixedChunksAreReadTogether) {
  Make(Fixed());
  for (int i = 0; i < 8; ++i) Add(Prompt(8, i), 1);
  size_t prefills = 0;
  engine->on_step = [&](const proto::Step& step) { prefills += step.prompt_tokens() > 0; };
  Run();
  EXPECT_EQ(prefills, 2u);  // four of 8 tokens in each of 32
}

// An engine that decides by a step how latents are attended to gets no two prompts in one.
TEST_F(SchedulerTest, PromptsAreReadOneByOneWhereTheEngineAsksForIt) {
  StepEngine::Limits limits = Fixed();
  limits.one_prompt = true;
  Make(limits);
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 8; ++i) sinks.push_back(Add(Prompt(8, i), 4));
  size_t prefills = 0;
  engine->on_step = [&](const proto::Step& step) {
    if (step.prompt_tokens() == 0) return;
    ++prefills;
    EXPECT_EQ(PiecesOf(step).size(), 1u);
  };
  Run();
  EXPECT_EQ(prefills, 8u);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(sinks[static_cast<size_t>(i)]->tokens, Expected(Prompt(8, i), 4));
}

// One that does not fit beside others is the first of a later step.
TEST_F(SchedulerTest, AFixedChunkThatHasNoRoomIsNotOvertakenForLong) {
  Make(Fixed());
  Add(Prompt(20, 1), 1);
  const auto large = Add(Prompt(30, 2), 1);
  for (int i = 3; i < 8; ++i) Add(Prompt(6, i), 1);
  scheduler->RunStep();
  EXPECT_FALSE(large->finish);
  EXPECT_EQ(engine->prefilled, 32u);  // with two of 6 beside the first
  scheduler->RunStep();
  EXPECT_TRUE(large->finish);
  Run();
}

}  // namespace
}  // namespace onecopy::serve
