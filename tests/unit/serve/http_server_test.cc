#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "runtime/base/error.h"
#include "runtime/serve/http.h"

namespace onecopy::serve {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Client {
 public:
  explicit Client(uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { close(socket_); }
  void Send(const std::string& text) {
    EXPECT_EQ(send(socket_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // False where the server has closed the connection.
  bool TrySend(const std::string& text) {
    return send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  // Until the server closes, or what it said ends so.
  std::string Read(const std::string& end = "") {
    std::string all;
    char piece[4096];
    ssize_t n = 0;
    while ((end.empty() || !all.ends_with(end)) && (n = recv(socket_, piece, sizeof piece, 0)) > 0)
      all.append(piece, static_cast<size_t>(n));
    return all;
  }

 private:
  const int socket_;
};

HttpOptions Quick() {
  HttpOptions options;
  options.port = 0;
  options.header_seconds = 0.3;
  options.body_seconds = 0.3;
  options.idle_seconds = 0.3;
  options.header_bytes = 2000;
  options.body_bytes = 1000;
  return options;
}

HttpServer::Handler Echo() {
  return [](const std::shared_ptr<Exchange>& exchange) {
    HttpResponse response;
    response.body =
        exchange->request().method + " " + exchange->request().path + " " + exchange->request().body;
    exchange->Respond(std::move(response));
  };
}

std::string Post(const std::string& body, const std::string& more = "Connection: close\r\n") {
  return "POST /a?b=c HTTP/1.1\r\n" + more + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

TEST(HttpServer, AnswersAndKeepsConnections) {
  HttpServer server(Quick(), Echo());
  Client client(server.port());
  for (const char* body : {"one", "", "three"}) {
    client.Send(Post(body, ""));
    const std::string answer = client.Read("POST /a " + std::string(body));
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("Connection: keep-alive"));
  }
  client.Send(Post("last"));
  EXPECT_THAT(client.Read(), EndsWith("\r\n\r\nPOST /a last"));
}

TEST(HttpServer, ManyClientsAtOnce) {
  HttpServer server(Quick(), Echo());
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k) {
        Client client(server.port());
        const std::string body = std::to_string(100 * i + k);
        client.Send(Post(body));
        EXPECT_THAT(client.Read(), EndsWith("POST /a " + body));
      }
    });
  for (std::thread& thread : threads) thread.join();
}

// Events that other threads send, all of them, in order, and the end.
TEST(HttpServer, StreamsEventsOfOtherThreads) {
  std::mutex mutex;
  std::vector<std::thread> senders;
  {
    HttpServer server(Quick(), [&](std::shared_ptr<Exchange> exchange) {
      const std::lock_guard lock(mutex);
      senders.emplace_back([exchange = std::move(exchange)] {
        exchange->BeginEvents();
        for (int i = 0; i < 200; ++i) exchange->SendEvents("data: " + std::to_string(i) + "\n\n");
        exchange->End();
      });
    });
    Client client(server.port());
    client.Send(Post("", "Connection: close\r\n"));
    const std::string answer = client.Read();
    size_t at = 0;
    for (int i = 0; i < 200; ++i) {
      at = answer.find("data: " + std::to_string(i) + "\n\n", at);
      ASSERT_NE(at, std::string::npos) << i;
    }
    EXPECT_THAT(answer, EndsWith("\r\n0\r\n\r\n"));
    const std::lock_guard lock(mutex);
    for (std::thread& thread : senders) thread.join();
  }
}

TEST(HttpServer, AClientThatGoesIsNoticed) {
  std::atomic<bool> noticed{false};
  std::thread waiter;
  HttpServer server(Quick(), [&](std::shared_ptr<Exchange> exchange) {
    waiter = std::thread([&, exchange = std::move(exchange)] {
      for (int i = 0; i < 1000 && !exchange->gone(); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      noticed = exchange->gone();
      exchange->SendEvents("data: nobody reads this\n\n");  // harmless
      exchange->End();
    });
  });
  {
    Client client(server.port());
    client.Send(Post("x"));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  for (int i = 0; i < 1000 && !noticed; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(noticed);
  waiter.join();
}

// Clients come while the last hold on those that went is let go elsewhere: the server's books of them are one thread's.
TEST(HttpServer, ExchangesAreLetGoByAnyThread) {
  std::mutex mutex;
  std::vector<std::shared_ptr<Exchange>> held;
  std::atomic<bool> done{false};
  {
    HttpServer server(Quick(), [&](std::shared_ptr<Exchange> exchange) {
      exchange->Respond({});
      const std::lock_guard lock(mutex);
      held.push_back(std::move(exchange));
    });
    std::thread keeper([&] {
      while (!done) {
        std::vector<std::shared_ptr<Exchange>> gone;
        {
          const std::lock_guard lock(mutex);
          for (auto& exchange : held)
            if (exchange->gone()) gone.push_back(std::move(exchange));
          std::erase(held, nullptr);
        }
        gone.clear();
        std::this_thread::yield();
      }
    });
    std::vector<std::thread> clients;
    for (int t = 0; t < 4; ++t)
      clients.emplace_back([&] {
        for (int i = 0; i < 100; ++i) {
          Client client(server.port());
          client.Send(Post("x"));
          client.Read();
        }
      });
    for (std::thread& thread : clients) thread.join();
    for (int i = 0; i < 2000 && server.connections() > 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(server.connections(), 0u);
    done = true;
    keeper.join();
    held.clear();
  }
}

TEST(HttpServer, WhoeverGivesNoAnswerAnswers500) {
  HttpServer server(Quick(), [](const std::shared_ptr<Exchange>&) {});
  Client client(server.port());
  client.Send(Post(""));
  EXPECT_THAT(client.Read(), StartsWith("HTTP/1.1 500"));
}

TEST(HttpServer, LimitsAreKept) {
  HttpServer server(Quick(), Echo());
  const auto says = [&](const std::string& request, const char* status) {
    Client client(server.port());
    client.Send(request);
    EXPECT_THAT(client.Read(), StartsWith(std::string("HTTP/1.1 ") + status));
  };
  says("GET / HTTP/1.1\r\nX: " + std::string(3000, 'x') + "\r\n\r\n", "431");
  says(Post(std::string(1001, 'x')), "413");
  says("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + std::string(2000, 'x') +
           "\r\n0\r\n\r\n",
       "413");
  says("GET / HTTP/1.1\r\n", "408");
  says("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc", "408");
  says("nonsense\r\n\r\n", "400");
  Client idle(server.port());
  EXPECT_EQ(idle.Read(), "");  // closed
}

TEST(HttpServer, AllBodiesTogetherAreLimited) {
  HttpOptions options = Quick();
  options.bodies = 2;
  options.body_seconds = 10;
  std::shared_ptr<Exchange> held;
  std::atomic<bool> holds{false};
  HttpServer server(options, [&](const std::shared_ptr<Exchange>& exchange) {
    if (exchange->request().body.size() < 1000) return Echo()(exchange);
    held = exchange;  // not answered yet
    holds = true;
  });
  Client one(server.port()), two(server.port());
  one.Send(Post(std::string(1000, 'x')));
  two.Send("POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\nnot all of it");
  const auto third = [&] {
    Client client(server.port());
    client.Send(Post(std::string(999, 'x')));
    return client.Read();
  };
  std::string answer;
  for (int i = 0; i < 500 && !answer.starts_with("HTTP/1.1 503"); ++i)
    answer = third();  // until both are there
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
  while (!holds) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  held->DropBody();
  EXPECT_THAT(third(), StartsWith("HTTP/1.1 200"));
  held->Respond({});
  held.reset();
}

TEST(HttpServer, MoreConnectionsThanAllowedAreClosed) {
  HttpOptions options = Quick();
  options.connections = 2;
  options.header_seconds = 10;
  HttpServer server(options, Echo());
  Client one(server.port()), two(server.port());
  while (server.connections() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  Client three(server.port());
  EXPECT_EQ(three.Read(), "");
  one.Send(Post("still"));
  EXPECT_THAT(one.Read(), EndsWith("still"));
}

TEST(HttpServer, FlushWaitsUntilAllIsSent) {
  HttpServer server(Quick(), [](const std::shared_ptr<Exchange>& exchange) {
    HttpResponse response;
    response.body = std::string(3 << 20, 'x');
    exchange->Respond(std::move(response));
  });
  Client client(server.port());
  client.Send(Post(""));
  std::string answer;
  std::thread reader([&] { answer = client.Read(); });
  server.Flush(5);
  reader.join();
  EXPECT_GT(answer.size(), size_t{3} << 20);
}

TEST(HttpServer, AnAddressThatCannotBeIsSaid) {
  HttpServer server(Quick(), Echo());
  HttpOptions taken = Quick();
  taken.port = server.port();
  EXPECT_THROW(HttpServer(taken, Echo()), Error);
  HttpOptions unknown = Quick();
  unknown.host = "host.invalid";
  EXPECT_THROW(HttpServer(unknown, Echo()), Error);
  HttpOptions no_certificate = Quick();
  no_certificate.certificate_file = no_certificate.key_file = "/dev/null";
  EXPECT_THROW(HttpServer(no_certificate, Echo()), Error);
}

// Each field was within the limit, and all together had none: memory grew as fast as a client could send.
TEST(HttpServer, AHeaderOfManyFieldsHasALimit) {
  HttpServer server(Quick(), Echo());
  for (const bool in_pieces : {false, true}) {
    Client client(server.port());
    std::string header = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 30; ++i) {
      header += "X-" + std::to_string(i) + ": " + std::string(100, 'x') + "\r\n";
      if (!in_pieces) continue;
      client.Send(header);
      header.clear();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    client.Send(header + "Connection: close\r\n\r\n");
    EXPECT_THAT(client.Read(), StartsWith("HTTP/1.1 431")) << (in_pieces ? "in pieces" : "at once");
  }
}

// The fields behind the last chunk were collected until their end came, and they count neither as header nor as body.
TEST(HttpServer, FieldsBehindTheLastChunkHaveALimit) {
  HttpServer server(Quick(), Echo());
  Client client(server.port());
  client.Send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n");
  const std::string field = "X: " + std::string(1000, 'x') + "\r\n";
  bool open = true;
  size_t sent = 0;
  for (; open && sent < (4 << 20); sent += field.size()) open = client.TrySend(field);
  EXPECT_FALSE(open) << sent << " bytes were taken";
}

}  // namespace
}  // namespace onecopy::serve
