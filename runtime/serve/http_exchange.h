// What the connections of the HTTP server share, and a request of one of them as handlers hold it. Only for
// http_connection.h.
#pragma once

// clang-format off
#include <utility>  // which Boost 1.74 needs and forgets
// clang-format on
#include <fmt/format.h>

#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <random>
#include <thread>
#include <unordered_set>

#include "runtime/serve/http.h"

namespace onecopy::serve::internal {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using TlsStream = asio::ssl::stream<tcp::socket>;
using ErrorCodeOf = boost::system::error_code;

inline tcp::socket& SocketOf(tcp::socket& stream) {
  return stream;
}
inline tcp::socket& SocketOf(TlsStream& stream) {
  return stream.next_layer();
}

inline std::string NewRequestId() {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{:016x}{:016x}", random(), random());
}

inline bool IsSoundId(std::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
             std::string_view::npos;
}

inline std::string ErrorBody(const std::string& message, const char* type) {
  std::string escaped;
  for (const char c : message) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return fmt::format(R"({{"error":{{"message":"{}","type":"{}","param":null,"code":null}}}})", escaped, type);
}

// What all connections share. Only `count`, and what exchanges post, is touched by other threads.
struct Shared {
  HttpOptions options;
  HttpServer::Handler handler;
  std::atomic<size_t> connections{0};
  std::atomic<size_t> body_bytes{0};  // of requests, that have arrived or may yet
  std::atomic<size_t> unsent{0};      // bytes that were given to exchanges and are not in a socket yet
  std::unordered_set<class ConnectionBase*> all;
  asio::io_context io{1};  // destroyed before what its last connections still use
  asio::thread_pool handlers;

  Shared(const HttpOptions& o, HttpServer::Handler h)
      : options(o), handler(std::move(h)), handlers(static_cast<size_t>(o.handler_threads)) {}
};

class ConnectionBase {
 public:
  virtual ~ConnectionBase() = default;
  virtual void Close() = 0;
};

template <typename Stream>
class Connection;

template <typename Stream>
class ExchangeOf : public Exchange, public std::enable_shared_from_this<ExchangeOf<Stream>> {
 public:
  // body_bytes: how many of Shared.body_bytes are the request's.
  ExchangeOf(Shared& shared, std::shared_ptr<Connection<Stream>> connection, HttpRequest request,
             size_t body_bytes)
      : shared_(shared),
        connection_(std::move(connection)),
        request_(std::move(request)),
        body_bytes_(body_bytes) {}
  ~ExchangeOf() override {
    shared_.body_bytes -= body_bytes_;
    if (!answered_) {
      HttpResponse response;
      response.status = 500;
      response.body = ErrorBody("the server gave no answer", "server_error");
      Answer(std::move(response), connection_);
    } else if (!ended_) {
      Post("", true);
    }
    // Where the client has gone this may be the last who holds the connection, which must end on the server's thread.
    asio::post(shared_.io, [connection = std::move(connection_)] {});
  }

  const HttpRequest& request() const override { return request_; }
  void DropBody() override {
    request_.body = std::string();
    shared_.body_bytes -= body_bytes_;
    body_bytes_ = 0;
  }
  void Respond(HttpResponse response) override {
    if (answered_.exchange(true)) return;
    ended_ = true;
    Answer(std::move(response), connection_);
  }
  void BeginEvents() override {
    if (answered_.exchange(true)) return;
    asio::post(shared_.io, [connection = connection_, id = request_.id] { connection->BeginEvents(id); });
  }
  void SendEvents(std::string text) override {
    if (!gone() && !text.empty()) Post(std::move(text), false);
  }
  void End() override {
    if (!ended_.exchange(true)) Post("", true);
  }
  bool gone() const override { return connection_->gone(); }

 private:
  void Answer(HttpResponse response, std::shared_ptr<Connection<Stream>> connection) {
    shared_.unsent += response.body.size();
    asio::post(shared_.io, [connection = std::move(connection), response = std::move(response),
                            id = request_.id, head = request_.method == "HEAD"]() mutable {
      connection->Respond(std::move(response), id, head);
    });
  }
  void Post(std::string text, bool last) {
    shared_.unsent += text.size();
    asio::post(shared_.io, [connection = connection_, text = std::move(text), last]() mutable {
      connection->SendChunk(std::move(text), last);
    });
  }

  Shared& shared_;
  std::shared_ptr<Connection<Stream>> connection_;
  HttpRequest request_;
  size_t body_bytes_;  // of the handler's thread
  std::atomic<bool> answered_{false}, ended_{false};
};

}  // namespace onecopy::serve::internal
