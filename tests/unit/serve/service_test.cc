#include "runtime/serve/service.h"

#include <gmock/gmock.h>

#include <thread>

#include "runtime/base/error.h"
#include "tests/unit/serve/scheduler_fixture.h"

namespace onecopy::serve {
namespace {

struct Waiter : TokenSink {
  bool OnToken(int32_t, const Logprobs*) override {
    ++tokens;
    return true;
  }
  void OnFinish(const Finish& f) override {
    finish = f;
    done = true;
  }
  bool cancelled() const override { return false; }

  std::atomic<size_t> tokens{0};
  std::atomic<bool> done{false};
  Finish finish;
};

std::vector<SequenceRequest> RequestFor(const std::shared_ptr<Waiter>& sink, uint32_t n) {
  std::vector<SequenceRequest> requests(1);
  requests[0].prompt = {1, 2, 3};
  requests[0].max_tokens = n;
  requests[0].ignore_eos = true;
  requests[0].sampling.temperature = 0;
  requests[0].sink = sink;
  return requests;
}

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() : metrics_(proto::RunReport()) {}
  void Start(size_t max_waiting) {
    Service::Options options;
    options.max_waiting = max_waiting;
    options.scheduler.max_sequences = 4;
    service_.emplace(engine_, std::vector<int32_t>(), options, metrics_, [](double) {});
  }
  void RunInThread() {
    thread_ = std::thread([this] {
      try {
        service_->Run();
      } catch (const Error& error) {
        error_ = error.what();
      }
    });
  }

  test::FakeEngine engine_{test::kLimits};
  Metrics metrics_;
  std::optional<Service> service_;
  std::thread thread_;
  std::string error_;
};

TEST_F(ServiceTest, RequestsOfManyThreadsAreDoneBeforeItEnds) {
  Start(1000);
  RunInThread();
  std::vector<std::shared_ptr<Waiter>> sinks;
  for (int i = 0; i < 40; ++i) sinks.push_back(std::make_shared<Waiter>());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = static_cast<size_t>(t); i < sinks.size(); i += 4)
        EXPECT_TRUE(service_->Submit(RequestFor(sinks[i], 20)));
    });
  for (std::thread& thread : threads) thread.join();
  service_->Drain();
  EXPECT_FALSE(service_->Submit(RequestFor(std::make_shared<Waiter>(), 1)));
  thread_.join();
  for (const auto& sink : sinks) EXPECT_EQ(sink->tokens, 20u);
  EXPECT_EQ(error_, "");
}

TEST_F(ServiceTest, TakesNoMoreThanItsQueue) {
  Start(2);  // beside four that run
  std::vector<std::shared_ptr<Waiter>> sinks;
  for (int i = 0; i < 10; ++i) sinks.push_back(std::make_shared<Waiter>());
  size_t taken = 0;
  for (const auto& sink : sinks) taken += service_->Submit(RequestFor(sink, 5)) ? 1 : 0;
  EXPECT_EQ(taken, 6u);
  EXPECT_EQ(service_->state(), Service::State::kReady);
  RunInThread();
  while (!sinks[5]->done) std::this_thread::yield();
  EXPECT_TRUE(service_->Submit(RequestFor(sinks[9], 5)));
  service_->Drain();
  thread_.join();
  EXPECT_TRUE(sinks[9]->done);
}

TEST_F(ServiceTest, StopEndsAllNow) {
  Start(100);
  RunInThread();
  const auto endless = std::make_shared<Waiter>();
  engine_.on_step = [](const proto::Step&) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
  EXPECT_TRUE(service_->Submit(RequestFor(endless, 390)));
  while (endless->tokens < 3) std::this_thread::yield();
  service_->Stop();
  thread_.join();
  EXPECT_EQ(endless->finish.reason, FinishReason::kFailed);
  EXPECT_LT(endless->tokens, 390u);
}

TEST_F(ServiceTest, AFailureIsToldToAllAndRethrown) {
  Start(100);
  std::vector<std::shared_ptr<Waiter>> sinks;
  for (int i = 0; i < 8; ++i) {
    sinks.push_back(std::make_shared<Waiter>());
    EXPECT_TRUE(service_->Submit(RequestFor(sinks.back(), 100)));
  }
  engine_.on_step = [&](const proto::Step&) {
    if (engine_.steps == 20) Fail(ErrorCode::kCommunication, "rank 2 is gone");
  };
  RunInThread();
  thread_.join();
  EXPECT_EQ(error_, "rank 2 is gone");
  for (const auto& sink : sinks) {
    EXPECT_TRUE(sink->done);
    EXPECT_EQ(sink->finish.error, "rank 2 is gone");
  }
  EXPECT_EQ(service_->state(), Service::State::kFailed);
  EXPECT_FALSE(service_->Submit(RequestFor(std::make_shared<Waiter>(), 1)));
}

}  // namespace
}  // namespace onecopy::serve
