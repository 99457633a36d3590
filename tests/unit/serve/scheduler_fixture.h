// A scheduler over an engine without a model, by a clock of its own, and sinks that note what they are told.
#pragma once

#include <gmock/gmock.h>

#include <random>

#include "runtime/base/error.h"
#include "runtime/serve/scheduler.h"
#include "tests/unit/serve/fake_engine.h"

namespace onecopy::serve::test {

inline constexpr StepEngine::Limits kLimits = {.slots = 16,
                                               .pages = 64,
                                               .page_tokens = 8,
                                               .context = 400,
                                               .chunk_tokens = 32,
                                               .vocab = 500,
                                               .forward_only = false,
                                               .fixed_chunks = false};

struct Recorder : TokenSink {
  bool OnToken(int32_t token, const Logprobs* logprobs) override {
    EXPECT_FALSE(finish) << "a token after the end";
    tokens.push_back(token);
    if (logprobs != nullptr) last = *logprobs;
    return tokens.size() < stop_after;
  }
  void OnFinish(const Finish& f) override {
    EXPECT_FALSE(finish) << "two ends";
    finish = f;
  }
  void OnPromptLogprobs(const Logprobs& logprobs) override {
    EXPECT_TRUE(tokens.empty()) << "of the prompt after a token";
    prompt.push_back(logprobs);
  }
  void OnEndToken(int32_t token, const Logprobs&) override { end_token = token; }
  bool cancelled() const override { return gone; }

  std::vector<Logprobs> prompt;
  std::optional<int32_t> end_token;
  std::vector<int32_t> tokens;
  std::optional<Finish> finish;
  std::optional<Logprobs> last;
  size_t stop_after = SIZE_MAX;
  bool gone = false;
};

inline std::vector<int32_t> Prompt(size_t n, int seed) {
  std::vector<int32_t> tokens(n);
  std::mt19937 random(static_cast<unsigned>(seed));
  for (int32_t& t : tokens) t = static_cast<int32_t>(random() % kLimits.vocab);
  return tokens;
}

inline std::vector<int32_t> Expected(std::vector<int32_t> prompt, size_t n) {
  const size_t n_prompt = prompt.size();
  for (size_t i = 0; i < n; ++i) prompt.push_back(HashOf(prompt, kLimits.vocab));
  return {prompt.begin() + static_cast<ptrdiff_t>(n_prompt), prompt.end()};
}

class SchedulerTest : public ::testing::Test {
 protected:
  void Make(const StepEngine::Limits& limits, Scheduler::Options options = {}) {
    engine = std::make_unique<FakeEngine>(limits);
    options.max_sequences = std::min(options.max_sequences, limits.slots / 2);
    options.now = [this] { return now; };
    scheduler = std::make_unique<Scheduler>(*engine, end_tokens, options);
    // A step of n tokens takes n milliseconds.
    engine->on_step = [this](const proto::Step& step) {
      now += std::chrono::milliseconds(step.tokens_size());
    };
  }
  std::shared_ptr<Recorder> Add(std::vector<int32_t> prompt, uint32_t n, int top_logprobs = -1) {
    return AddRequest(std::move(prompt), n, top_logprobs, /*scores=*/false);
  }
  std::shared_ptr<Recorder> Score(std::vector<int32_t> prompt, uint32_t n, int top_logprobs = 2) {
    return AddRequest(std::move(prompt), n, top_logprobs, /*scores=*/true);
  }
  // Each token of the prompt is judged by the logits of the tokens before it, which the fake engine's hash gives away.
  void ExpectScored(const Recorder& sink, const std::vector<int32_t>& prompt) {
    ASSERT_EQ(sink.prompt.size(), prompt.size() - 1);
    for (size_t i = 1; i < prompt.size(); ++i) {
      const int32_t best = HashOf(std::span(prompt).first(i), kLimits.vocab);
      const Logprobs& got = sink.prompt[i - 1];
      ASSERT_EQ(got.top.at(0).token, best) << i;
      const double sum = std::exp(9.0) + kLimits.vocab - 1;
      EXPECT_NEAR(got.logprob, (prompt[i] == best ? 9.0 : 0.0) - std::log(sum), 1e-4) << i;
    }
  }
  void Run() {
    for (int i = 0; !scheduler->idle(); ++i) {
      ASSERT_LT(i, 100000) << "no progress";
      scheduler->RunStep();
    }
  }

  Clock::time_point now;
  std::vector<int32_t> end_tokens;
  std::unique_ptr<FakeEngine> engine;
  std::unique_ptr<Scheduler> scheduler;

 private:
  std::shared_ptr<Recorder> AddRequest(std::vector<int32_t> prompt, uint32_t n, int top_logprobs,
                                       bool scores) {
    auto sink = std::make_shared<Recorder>();
    SequenceRequest request;
    request.prompt = std::move(prompt);
    request.max_tokens = n;
    request.sampling.temperature = 0;
    request.top_logprobs = top_logprobs;
    request.prompt_logprobs = scores;
    request.ignore_eos = scores || end_tokens.empty();
    request.sink = sink;
    scheduler->Add(std::move(request));
    return sink;
  }
};

}  // namespace onecopy::serve::test
