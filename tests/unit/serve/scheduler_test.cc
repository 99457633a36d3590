#include <random>

#include "tests/unit/serve/scheduler_fixture.h"

namespace onecopy::serve {
namespace {

using test::Expected;
using test::HashOf;
using test::kLimits;
using test::Prompt;
using test::Recorder;
using test::SchedulerTest;

TEST_F(SchedulerTest, OneSequenceIsReadInChunksAndDecoded) {
  Make(kLimits);
  const auto sink = Add(Prompt(100, 1), 20);
  Run();
  EXPECT_EQ(sink->tokens, Expected(Prompt(100, 1), 20));
  EXPECT_EQ(sink->finish->reason, FinishReason::kLength);
  EXPECT_EQ(sink->finish->prompt_tokens, 100u);
  EXPECT_EQ(sink->finish->generated_tokens, 20u);
  EXPECT_EQ(engine->steps, 4u + 19);  // the last chunk gives the first token
  EXPECT_EQ(engine->most_tokens, 32u);
}

// With the likeliest token in it now and then, so that both kinds of scores are seen.
std::vector<int32_t> PromptThatIsLikely(size_t n, int seed) {
  std::vector<int32_t> tokens = Prompt(n, seed);
  for (size_t i = 3; i < n; i += 4) tokens[i] = HashOf(std::span(tokens).first(i), kLimits.vocab);
  return tokens;
}

TEST_F(SchedulerTest, PromptsAreScoredWhateverIsKeptOrRunsBeside) {
  for (const bool fixed_chunks : {false, true}) {
    SCOPED_TRACE(fixed_chunks);
    StepEngine::Limits limits = kLimits;
    limits.fixed_chunks = fixed_chunks;
    Make(limits, {.score_logits = 10 * kLimits.vocab});
    engine->on_step = [this](const proto::Step& step) {
      now += std::chrono::milliseconds(step.tokens_size());
      EXPECT_LE(step.logit_rows_size(), 10 + 8);  // beside the next tokens of others
    };
    const std::vector<int32_t> prompt = PromptThatIsLikely(100, 1);
    Add(prompt, 3);
    Run();  // kept
    const auto again = Score(prompt, 5), only = Score(prompt, 0);
    std::vector<std::shared_ptr<Recorder>> others;
    for (int i = 0; i < 3; ++i) others.push_back(Add(Prompt(50, i), 10));
    const auto one = Score({7}, 2), nothing = Score({7}, 0);
    Run();
    ExpectScored(*again, prompt);
    ExpectScored(*only, prompt);
    EXPECT_EQ(again->tokens, Expected(prompt, 5));
    EXPECT_TRUE(only->tokens.empty());
    EXPECT_EQ(only->finish->reason, FinishReason::kLength);
    EXPECT_EQ(only->finish->generated_tokens, 0u);
    EXPECT_EQ(again->finish->cached_tokens, 0u);
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(others[static_cast<size_t>(i)]->tokens, Expected(Prompt(50, i), 10));
    EXPECT_TRUE(one->prompt.empty() && nothing->prompt.empty());
    EXPECT_EQ(one->tokens, Expected({7}, 2));
    EXPECT_TRUE(nothing->finish);
  }
}

TEST_F(SchedulerTest, ScoresAreToldOnceWhereASequenceMakesWay) {
  StepEngine::Limits small = kLimits;
  small.pages = 20;
  Make(small, {.score_logits = 10 * kLimits.vocab});
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 8; ++i) sinks.push_back(Score(PromptThatIsLikely(40, i), 60));
  Run();
  EXPECT_GT(engine->prefilled, 8u * 40) << "none made way";
  for (int i = 0; i < 8; ++i) {
    ExpectScored(*sinks[static_cast<size_t>(i)], PromptThatIsLikely(40, i));
    EXPECT_EQ(sinks[static_cast<size_t>(i)]->tokens, Expected(PromptThatIsLikely(40, i), 60));
  }
}

TEST_F(SchedulerTest, CompanyChangesNothing) {
  Make(kLimits);
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 30; ++i)
    sinks.push_back(Add(Prompt(static_cast<size_t>(1 + 7 * i % 90), i), 5 + i % 11));
  Run();
  for (int i = 0; i < 30; ++i)
    EXPECT_EQ(sinks[static_cast<size_t>(i)]->tokens,
              Expected(Prompt(static_cast<size_t>(1 + 7 * i % 90), i), static_cast<size_t>(5 + i % 11)))
        << i;
}

TEST_F(SchedulerTest, SequencesMakeWayWhereTheCacheIsFullAndGoOn) {
  StepEngine::Limits small = kLimits;
  small.pages = 20;  // of 8 tokens; eight sequences of up to 90 want 90
  Make(small);
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 12; ++i) sinks.push_back(Add(Prompt(20, i), 70));
  Run();
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(sinks[static_cast<size_t>(i)]->tokens, Expected(Prompt(20, i), 70)) << i;
  EXPECT_GT(engine->prefilled, 12u * 20) << "none made way";
  EXPECT_EQ(scheduler->load().running, 0u);
}

TEST_F(SchedulerTest, APromptThatIsKnownIsNotReadAgain) {
  Make(kLimits);
  const std::vector<int32_t> prompt = Prompt(70, 3);
  Add(prompt, 3);
  Run();
  const size_t before = engine->prefilled;
  const auto same = Add(prompt, 5);
  std::vector<int32_t> longer = prompt;
  longer.resize(90, 7);
  const auto more = Add(longer, 5);
  Run();
  EXPECT_EQ(same->finish->cached_tokens, 64u);  // whole pages
  EXPECT_EQ(more->finish->cached_tokens, 64u);
  EXPECT_EQ(engine->prefilled - before, 6u + 26);
  EXPECT_EQ(same->tokens, Expected(prompt, 5));
  EXPECT_EQ(more->tokens, Expected(longer, 5));
}

TEST_F(SchedulerTest, ChoicesOfOnePromptReadItOnce) {
  Make(kLimits);
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 4; ++i) sinks.push_back(Add(Prompt(81, 5), 10));
  Run();
  for (const auto& sink : sinks) EXPECT_EQ(sink->tokens, Expected(Prompt(81, 5), 10));
  EXPECT_EQ(engine->prefilled, 81u + 3);  // the last token of each of the others
}

TEST_F(SchedulerTest, NothingIsKeptWhereThatIsOffOrCannotBe) {
  Scheduler::Options off;
  off.keep_prompts = false;
  Make(kLimits, off);
  Add(Prompt(70, 3), 3);
  Add(Prompt(70, 3), 3);
  Run();
  EXPECT_EQ(engine->shared, 0u);
  EXPECT_EQ(engine->free_pages(), kLimits.pages);
  StepEngine::Limits forward = kLimits;
  forward.forward_only = true;
  Make(forward);
  Add(Prompt(70, 3), 3);
  const auto second = Add(Prompt(70, 3), 3);
  Run();
  EXPECT_EQ(engine->shared, 0u);
  EXPECT_EQ(second->tokens, Expected(Prompt(70, 3), 3));
}

TEST_F(SchedulerTest, AStepReadsPromptsBesideThoseThatDecode) {
  Make(kLimits);
  const auto running = Add(Prompt(8, 1), 100);
  while (running->tokens.size() < 3) scheduler->RunStep();
  const auto reading = Add(Prompt(40, 2), 4);
  size_t with_both = 0;
  while (reading->tokens.empty()) {
    const size_t tokens = running->tokens.size(), prefilled = engine->prefilled, steps = engine->steps;
    scheduler->RunStep();
    EXPECT_EQ(running->tokens.size(), tokens + 1);
    EXPECT_EQ(engine->steps, steps + 1);
    with_both += engine->prefilled > prefilled;
  }
  EXPECT_GE(with_both, 2u);
  Run();
  EXPECT_EQ(running->tokens, Expected(Prompt(8, 1), 100));
  EXPECT_EQ(reading->tokens, Expected(Prompt(40, 2), 4));
}

TEST_F(SchedulerTest, ALongPromptNeitherBlocksShortOnesNorThoseThatDecode) {
  StepEngine::Limits large = kLimits;
  large.context = 4000, large.pages = 600;
  Scheduler::Options options;
  options.step_seconds = 0.016;
  Make(large, options);
  const auto running = Add(Prompt(8, 1), 300);
  while (running->tokens.size() < 3) scheduler->RunStep();
  const auto reading = Add(Prompt(2000, 2), 4);
  const auto short_one = Add(Prompt(8, 3), 4);
  std::vector<double> gaps;
  Clock::time_point last = now;
  size_t seen = running->tokens.size();
  while (!reading->finish) {
    scheduler->RunStep();
    if (running->tokens.size() == seen) continue;
    gaps.push_back(std::chrono::duration<double>(now - last).count());
    last = now;
    seen = running->tokens.size();
    if (reading->tokens.empty() && gaps.size() > 30) {
      EXPECT_TRUE(short_one->finish) << "waits for the long prompt";
    }
  }
  ASSERT_GT(gaps.size(), 60u);
  // How long a chunk may be is found out by the first ones: a chunk, and the next token of two others.
  EXPECT_LE(*std::max_element(gaps.begin() + 20, gaps.end()), 0.025);
  EXPECT_EQ(reading->tokens, Expected(Prompt(2000, 2), 4));
}

TEST_F(SchedulerTest, EndTokensStopsAndCancelledOnesEnd) {
  end_tokens = {Expected(Prompt(10, 1), 3).back()};
  Make(kLimits);
  const auto by_token = Add(Prompt(10, 1), 50);
  const auto by_sink = Add(Prompt(10, 2), 50);
  by_sink->stop_after = 2;
  const auto gone = Add(Prompt(300, 4), 50);
  const auto queued = Add(Prompt(10, 5), 50);
  queued->gone = true;
  scheduler->RunStep();
  gone->gone = true;
  Run();
  EXPECT_EQ(by_token->tokens.size(), 2u);
  EXPECT_EQ(by_token->finish->reason, FinishReason::kStop);
  EXPECT_EQ(by_sink->tokens.size(), 2u);
  EXPECT_EQ(by_sink->finish->reason, FinishReason::kStop);
  EXPECT_EQ(gone->finish->reason, FinishReason::kCancelled);
  EXPECT_EQ(queued->finish->reason, FinishReason::kCancelled);
  EXPECT_TRUE(queued->tokens.empty());
}

TEST_F(SchedulerTest, DeadlinesAreKept) {
  Make(kLimits);
  auto sink = std::make_shared<Recorder>();
  SequenceRequest request;
  request.prompt = Prompt(10, 1);
  request.max_tokens = 300;
  request.ignore_eos = true;
  request.sampling.temperature = 0;
  request.sink = sink;
  request.deadline = now + std::chrono::milliseconds(50);
  scheduler->Add(std::move(request));
  Run();
  EXPECT_EQ(sink->finish->reason, FinishReason::kDeadline);
  EXPECT_GT(sink->tokens.size(), 20u);
  EXPECT_LT(sink->tokens.size(), 60u);
}

TEST_F(SchedulerTest, ASequenceGrowsToTheEndOfTheContext) {
  Make(kLimits);
  const auto sink = Add(Prompt(390, 1), 1000);
  Run();
  EXPECT_EQ(sink->tokens, Expected(Prompt(390, 1), 10));
  EXPECT_EQ(sink->finish->reason, FinishReason::kLength);
}

struct OnlyEven : TokenFilter {
  std::span<const uint64_t> Allowed() override { return mask; }
  void Accept(int32_t token) override { EXPECT_EQ(token % 2, 0); }
  bool complete() const override { return false; }
  std::vector<uint64_t> mask = std::vector<uint64_t>(8, 0x5555555555555555u);
};

TEST_F(SchedulerTest, AFilterDecidesWhatMayCome) {
  Make(kLimits);
  auto sink = std::make_shared<Recorder>();
  SequenceRequest request;
  request.prompt = Prompt(10, 1);
  request.max_tokens = 40;
  request.sampling.temperature = 0;
  request.sink = sink;
  request.filter = std::make_unique<OnlyEven>();
  scheduler->Add(std::move(request));
  Run();
  EXPECT_EQ(sink->tokens.size(), 40u);
  EXPECT_THAT(sink->tokens, ::testing::Each(::testing::ResultOf([](int32_t t) { return t % 2; }, 0)));
}

TEST_F(SchedulerTest, LogprobsAreThoseOfTheModel) {
  Make(kLimits);
  const auto sink = Add(Prompt(10, 1), 1, 2);
  Run();
  ASSERT_TRUE(sink->last);
  // One logit is 9, all others are 0.
  const double sum = std::exp(9.0) + (kLimits.vocab - 1);
  EXPECT_NEAR(sink->last->logprob, 9 - std::log(sum), 1e-5);
  ASSERT_EQ(sink->last->top.size(), 2u);
  EXPECT_EQ(sink->last->top[0].token, sink->tokens[0]);
  EXPECT_NEAR(sink->last->top[1].logprob, -std::log(sum), 1e-5);
}

TEST_F(SchedulerTest, AfterAFailureAllAreTold) {
  Make(kLimits);
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 12; ++i) sinks.push_back(Add(Prompt(20, i), 70));
  for (int i = 0; i < 10; ++i) scheduler->RunStep();
  scheduler->FinishAll(FinishReason::kFailed, "rank 1 is gone");
  for (const auto& sink : sinks) {
    ASSERT_TRUE(sink->finish);
    EXPECT_EQ(sink->finish->error, "rank 1 is gone");
  }
  EXPECT_TRUE(scheduler->idle());
}

// Anything at any time: all that is not cancelled gets its own tokens, and in the end all pages are free or kept.
TEST_F(SchedulerTest, RandomTraffic) {
  for (unsigned seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    StepEngine::Limits limits = kLimits;
    limits.pages = 20 + random() % 60;
    limits.slots = 2 + 2 * (random() % 8);
    limits.context = std::min<uint32_t>(400, static_cast<uint32_t>(limits.pages * 8));
    limits.fixed_chunks = random() % 4 == 0;
    Make(limits);
    struct Sent {
      std::vector<int32_t> prompt;
      uint32_t n;
      std::shared_ptr<Recorder> sink;
    };
    std::vector<Sent> all;
    for (int step = 0; step < 400; ++step) {
      if (random() % 6 == 0) {
        // Some begin alike.
        std::vector<int32_t> prompt = Prompt(1 + random() % 60, static_cast<int>(random() % 4));
        const std::vector<int32_t> rest = Prompt(random() % 40, static_cast<int>(random()));
        prompt.insert(prompt.end(), rest.begin(), rest.end());
        const uint32_t n = 1 + static_cast<uint32_t>(random() % 40);
        all.push_back({prompt, n, Add(prompt, n)});
      }
      if (!all.empty() && random() % 20 == 0) all[random() % all.size()].sink->gone = true;
      scheduler->RunStep();
    }
    Run();
    for (const Sent& sent : all) {
      ASSERT_TRUE(sent.sink->finish);
      const std::vector<int32_t> want = Expected(sent.prompt, sent.n);
      if (sent.sink->finish->reason == FinishReason::kCancelled) {
        EXPECT_TRUE(std::equal(sent.sink->tokens.begin(), sent.sink->tokens.end(), want.begin()));
      } else {
        EXPECT_EQ(sent.sink->tokens, want);
      }
    }
    EXPECT_EQ(scheduler->load().running, 0u);
    scheduler.reset();
  }
}

}  // namespace
}  // namespace onecopy::serve
