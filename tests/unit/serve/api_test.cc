// The whole server but for model and templates: sockets, routes, the service's thread. What its threads share is looked at by
// the thread sanitizer (tests/run).
#include "runtime/serve/api.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "tests/unit/serve/fake_engine.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr StepEngine::Limits kApiLimits = {.slots = 16,
                                           .pages = 128,
                                           .page_tokens = 8,
                                           .context = 400,
                                           .chunk_tokens = 32,
                                           .vocab = 257,
                                           .forward_only = false,
                                           .fixed_chunks = false};

proto::RunReport TwoRanks() {
  proto::RunReport report;
  report.set_weight_bytes(1000);
  for (uint32_t r = 0; r < 2; ++r) report.add_ranks()->set_rank(r);
  return report;
}

Service::Options FourAtOnce() {
  Service::Options options;
  options.scheduler.max_sequences = 4;
  return options;
}

HttpOptions AnyPort() {
  HttpOptions options;
  options.port = 0;
  return options;
}

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() {
    spec_.set_vocab_size(kApiLimits.vocab);
    spec_.set_context_length(kApiLimits.context);
    engine_thread_ = std::thread([this] { service_.Run(); });
  }
  ~ApiTest() override {
    service_.Drain();
    engine_thread_.join();
  }

  // The whole answer, header and all.
  std::string Ask(const std::string& method, const std::string& path, const std::string& body = "") const {
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const std::string request =
        method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
        body;
    EXPECT_EQ(send(client, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    std::string answer;
    char piece[4096];
    for (ssize_t n = 0; (n = recv(client, piece, sizeof piece, 0)) > 0;)
      answer.append(piece, static_cast<size_t>(n));
    close(client);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    return answer;
  }

  const proto::RunReport report_ = TwoRanks();
  proto::ModelSpec spec_;
  const text::Tokenizer tokenizer_ = text::Tokenizer::FromGguf(text::ByteLevelMetadata({}, {"<|im_end|>"}));
  test::FakeEngine engine_{kApiLimits};
  Metrics metrics_{report_};
  // As the program has it, but after each request rather than each second.
  Service service_{engine_, tokenizer_.end_of_generation(), FourAtOnce(), metrics_, [this](double seconds) {
                     std::vector<proto::RankTimes> times(2);
                     times[1].set_step_seconds(static_cast<double>(++updates_));
                     times[1].set_wait_seconds(static_cast<double>(updates_) / 4);
                     metrics_.SetRankTimes(times, seconds);
                     metrics_.SetConnections(server_.connections());
                   }};
  uint32_t updates_ = 0;
  grammar::GrammarCache grammars_;
  jinja::Renderer renderer_;
  const Api api_{{.service = service_,
                  .metrics = metrics_,
                  .tokenizer = tokenizer_,
                  .token_table = std::make_shared<const grammar::TokenTable>(tokenizer_),
                  .grammars = grammars_,
                  .renderer = renderer_,
                  .spec = spec_,
                  .report = report_,
                  .model_id = "fake",
                  .template_source = "",
                  .template_variables = nullptr,
                  .sampling = {},
                  .api_keys = {}}};
  HttpServer server_{AnyPort(), [this](const std::shared_ptr<Exchange>& exchange) { api_.Handle(exchange); }};
  std::thread engine_thread_;
};

TEST_F(ApiTest, StatusIsAskedForWhileManyAreAnswered) {
  constexpr int kClients = 4, kRequests = 6;
  std::atomic<int> clients_left{kClients};
  std::vector<std::thread> threads;
  for (int c = 0; c < kClients; ++c)
    threads.emplace_back([&, c] {
      for (int i = 0; i < kRequests; ++i) {
        const Json request = {{"prompt", "client " + std::to_string(c)},
                              {"max_tokens", 8},
                              {"ignore_eos", true},
                              {"temperature", 0},
                              {"stream", i % 2 == 1}};
        EXPECT_THAT(Ask("POST", "/v1/completions", request.dump()),
                    HasSubstr("\"finish_reason\":\"length\""));
        const Json choice = {
            {"prompt", "yes or no: "}, {"max_tokens", 20}, {"grammar", "root ::= \"yes\" | \"no\""}};
        EXPECT_THAT(Ask("POST", "/v1/completions", choice.dump()), HasSubstr("\"finish_reason\":\"stop\""));
        EXPECT_THAT(Ask("POST", "/tokenize", R"({"prompt": "abc"})"), HasSubstr("\"count\":3"));
      }
      --clients_left;
    });
  for (const char* path : {"/api/machine", "/metrics", "/health", "/v1/models", "/"})
    threads.emplace_back([&, path] {
      do Ask("GET", path);
      while (clients_left > 0);
    });
  for (std::thread& thread : threads) thread.join();

  const std::string machine = Ask("GET", "/api/machine");
  const Json json = Json::parse(machine.substr(machine.find("\r\n\r\n")));
  EXPECT_EQ(json["ranks"].size(), 2u);
  EXPECT_EQ(json["waiting"], 0);
  EXPECT_THAT(Ask("GET", "/metrics"),
              HasSubstr("onecopy_http_responses_total{route=\"/v1/completions\",status=\"200\"} 48"));
}

}  // namespace
}  // namespace onecopy::serve
