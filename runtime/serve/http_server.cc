// Boost.Asio and Beast: a thread that waits for all sockets at once, so that thousands of idle connections cost memory only.
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <unordered_set>
#include <utility>  // Boost 1.74 forgets it

#include "runtime/base/error.h"
#include "runtime/base/log.h"
#include "runtime/serve/http.h"

namespace onecopy::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;
using TlsStream = asio::ssl::stream<tcp::socket>;
using ErrorCodeOf = boost::system::error_code;

tcp::socket& SocketOf(tcp::socket& stream) {
  return stream;
}
tcp::socket& SocketOf(TlsStream& stream) {
  return stream.next_layer();
}

std::string NewRequestId() {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{:016x}{:016x}", random(), random());
}

bool IsSoundId(std::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
             std::string_view::npos;
}

std::string ErrorBody(const std::string& message, const char* type) {
  std::string escaped;
  for (const char c : message) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return fmt::format(R"({{"error":{{"message":"{}","type":"{}","param":null,"code":null}}}})", escaped, type);
}

}  // namespace

// What all connections share. Only `count`, and what exchanges post, is touched by other threads.
struct Shared {
  HttpOptions options;
  HttpServer::Handler handler;
  std::atomic<size_t> connections{0};
  std::atomic<size_t> unsent{0};  // bytes that were given to exchanges and are not in a socket yet
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

namespace {

template <typename Stream>
class Connection;

template <typename Stream>
class ExchangeOf : public Exchange, public std::enable_shared_from_this<ExchangeOf<Stream>> {
 public:
  ExchangeOf(Shared& shared, std::shared_ptr<Connection<Stream>> connection, HttpRequest request)
      : shared_(shared), connection_(std::move(connection)), request_(std::move(request)) {}
  ~ExchangeOf() override {
    if (answered_ && ended_) return;
    if (!answered_) {
      HttpResponse response;
      response.status = 500;
      response.body = ErrorBody("the server gave no answer", "server_error");
      Answer(std::move(response), connection_);
    } else {
      Post("", true);
    }
  }

  const HttpRequest& request() const override { return request_; }
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
  const std::shared_ptr<Connection<Stream>> connection_;
  const HttpRequest request_;
  std::atomic<bool> answered_{false}, ended_{false};
};

// All members but gone() are for the server's thread.
template <typename Stream>
class Connection : public ConnectionBase, public std::enable_shared_from_this<Connection<Stream>> {
 public:
  Connection(Shared& shared, Stream stream, std::string peer)
      : shared_(shared), stream_(std::move(stream)), timer_(shared.io), peer_(std::move(peer)) {
    ++shared_.connections;
    shared_.all.insert(this);
  }
  ~Connection() override {
    shared_.all.erase(this);
    --shared_.connections;
    Forget();
  }

  void Start() {
    SetDeadline(shared_.options.header_seconds);
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](ErrorCodeOf error) {
                                if (error) return self->Close();
                                self->ReadHeader();
                              });
    } else {
      ReadHeader();
    }
  }
  bool gone() const { return gone_; }

  void Close() override {
    if (closed_) return;
    closed_ = gone_ = true;
    timer_.cancel();
    ErrorCodeOf ignored;
    SocketOf(stream_).shutdown(tcp::socket::shutdown_both, ignored);
    SocketOf(stream_).close(ignored);
    Forget();
  }

  void Respond(HttpResponse response, const std::string& id, bool head) {
    shared_.unsent -= response.body.size();
    if (closed_) return;
    std::string text = StatusLine(response.status);
    text += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\nX-Request-Id: {}\r\n",
                        response.content_type, response.body.size(), id);
    for (const auto& [name, value] : response.headers) text += name + ": " + value + "\r\n";
    text += "\r\n";
    if (!head) text += response.body;
    Queue(std::move(text));
    Finish();
  }
  void BeginEvents(const std::string& id) {
    if (closed_) return;
    chunked_ = http_1_1_;
    if (!chunked_) keep_alive_ = false;
    std::string text = StatusLine(200);
    text += fmt::format(
        "Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: "
        "no\r\nX-Request-Id: {}\r\n{}\r\n",
        id, chunked_ ? "Transfer-Encoding: chunked\r\n" : "");
    Queue(std::move(text));
  }
  void SendChunk(std::string text, bool last) {
    shared_.unsent -= text.size();
    if (closed_) return;
    std::string framed;
    if (!text.empty())
      framed = chunked_ ? fmt::format("{:x}\r\n", text.size()) + text + "\r\n" : std::move(text);
    if (last && chunked_) framed += "0\r\n\r\n";
    if (!framed.empty()) Queue(std::move(framed));
    if (last) Finish();
  }

 private:
  std::string StatusLine(int status) const {
    const auto reason = http::obsolete_reason(static_cast<http::status>(status));
    return fmt::format("HTTP/1.1 {} {}\r\nConnection: {}\r\n", status,
                       std::string_view(reason.data(), reason.size()), keep_alive_ ? "keep-alive" : "close");
  }

  void SetDeadline(double seconds) {
    timer_.expires_after(std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000)));
    timer_.async_wait([weak = this->weak_from_this()](ErrorCodeOf error) {
      if (error) return;
      if (const auto self = weak.lock()) self->OnDeadline();
    });
  }
  void OnDeadline() {
    if (timer_.expiry() > asio::steady_timer::clock_type::now()) return;  // set anew in the meantime
    if (state_ == State::kHeader && buffer_.size() > 0)
      return Refuse(408, "the request did not arrive in time");
    if (state_ == State::kBody) return Refuse(408, "the request's body did not arrive in time");
    Close();
  }

  void ReadHeader() {
    if (closed_) return;
    state_ = State::kHeader;
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(shared_.options.header_bytes));
    parser_->body_limit(shared_.options.body_bytes);
    http::async_read_header(
        stream_, buffer_, *parser_,
        [self = this->shared_from_this()](ErrorCodeOf error, size_t) { self->OnHeader(error); });
  }
  void OnHeader(ErrorCodeOf error) {
    if (closed_ || refused_) return;
    if (error == http::error::header_limit) return Refuse(431, "the request's header is too large");
    if (error == http::error::body_limit) return RefuseBody();
    if (error && error.category() == http::make_error_code(http::error::bad_version).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message)
      return Refuse(400, "the request is not HTTP/1.1");
    if (error) return Close();
    const auto& message = parser_->get();
    http_1_1_ = message.version() >= 11;
    keep_alive_ = message.keep_alive();
    const auto length = parser_->content_length();
    if (length && *length > shared_.options.body_bytes) return RefuseBody();
    state_ = State::kBody;
    SetDeadline(shared_.options.body_seconds);
    if (beast::iequals(message[http::field::expect], "100-continue")) {
      static constexpr char kContinue[] = "HTTP/1.1 100 Continue\r\n\r\n";
      asio::async_write(stream_, asio::buffer(kContinue, sizeof kContinue - 1),
                        [self = this->shared_from_this()](ErrorCodeOf e, size_t) {
                          if (e) return self->Close();
                          self->ReadBody();
                        });
    } else {
      ReadBody();
    }
  }
  void ReadBody() {
    if (closed_) return;
    http::async_read(stream_, buffer_, *parser_,
                     [self = this->shared_from_this()](ErrorCodeOf error, size_t) { self->OnBody(error); });
  }
  void OnBody(ErrorCodeOf error) {
    if (closed_ || refused_) return;
    if (error == http::error::body_limit) return RefuseBody();
    if (error) return Close();
    timer_.cancel();
    state_ = State::kAnswer;
    chunked_ = false;
    HttpRequest request;
    auto message = parser_->release();
    request.method = std::string(message.method_string());
    const std::string target(message.target());
    const size_t mark = target.find('?');
    request.path = target.substr(0, mark);
    if (mark != std::string::npos) request.query = target.substr(mark + 1);
    for (const auto& field : message) {
      std::string name(field.name_string());
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      request.headers[name] = std::string(field.value());
    }
    request.body = std::move(message.body());
    request.peer = peer_;
    const std::string& id = request.Header("x-request-id");
    request.id = IsSoundId(id) ? id : NewRequestId();
    auto exchange =
        std::make_shared<ExchangeOf<Stream>>(shared_, this->shared_from_this(), std::move(request));
    asio::post(shared_.handlers, [&shared = shared_, exchange = std::move(exchange)]() mutable {
      shared.handler(std::move(exchange));
    });
    Watch();
  }

  // While a request is answered: notices a client that goes. What it sends already belongs to its next request.
  void Watch() {
    if (closed_ || watching_ || buffer_.size() >= shared_.options.header_bytes) return;
    watching_ = true;
    constexpr size_t kPiece = 4096;
    stream_.async_read_some(buffer_.prepare(kPiece),
                            [self = this->shared_from_this()](ErrorCodeOf error, size_t n) {
                              self->watching_ = false;
                              if (error) return self->Close();
                              self->buffer_.commit(n);
                              if (self->state_ == State::kAnswer) {
                                self->Watch();
                              } else {
                                self->Next();
                              }
                            });
  }

  void Queue(std::string text) {
    queued_bytes_ += text.size();
    shared_.unsent += text.size();
    queue_.push_back(std::move(text));
    if (queued_bytes_ > shared_.options.send_buffer_bytes && queue_.size() > 1) {
      log::debug("{} does not read what it asked for and is disconnected", peer_);
      return Close();
    }
    if (!writing_) Write();
  }
  void Write() {
    if (queue_.empty() || closed_) return;
    writing_ = true;
    SetDeadline(shared_.options.write_seconds);
    asio::async_write(
        stream_, asio::buffer(queue_.front()),
        [self = this->shared_from_this()](ErrorCodeOf error, size_t) { self->OnWritten(error); });
  }
  void OnWritten(ErrorCodeOf error) {
    writing_ = false;
    if (error || closed_) return Close();
    timer_.cancel();
    queued_bytes_ -= queue_.front().size();
    shared_.unsent -= queue_.front().size();
    queue_.pop_front();
    if (!queue_.empty()) return Write();
    if (finished_) Next();
  }
  // The answer is complete.
  void Finish() {
    finished_ = true;
    if (!writing_ && queue_.empty()) Next();
  }
  void Next() {
    if (closed_ || !finished_ || writing_) return;
    state_ = State::kNext;
    if (!keep_alive_) return ShutDown();
    SetDeadline(buffer_.size() > 0 ? shared_.options.header_seconds : shared_.options.idle_seconds);
    if (watching_) return;  // its end goes on here
    finished_ = false;
    ReadHeader();
  }
  // Lets the client read what was sent before the connection is closed: unread input would reset it.
  void ShutDown() {
    ErrorCodeOf ignored;
    SocketOf(stream_).shutdown(tcp::socket::shutdown_send, ignored);
    SetDeadline(1);
    Drain();
  }
  void Drain() {
    if (closed_ || watching_) return;
    watching_ = true;
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(65536),
                            [self = this->shared_from_this()](ErrorCodeOf error, size_t) {
                              self->watching_ = false;
                              if (error) return self->Close();
                              self->Drain();
                            });
  }
  void RefuseBody() {
    Refuse(413, fmt::format("the request's body has more than {} bytes", shared_.options.body_bytes));
  }
  void Refuse(int status, const std::string& message) {
    keep_alive_ = false;
    refused_ = true;
    state_ = State::kNext;
    ErrorCodeOf ignored;
    SocketOf(stream_).cancel(ignored);  // a read that still waits
    HttpResponse response;
    response.status = status;
    response.body = ErrorBody(message, "invalid_request_error");
    shared_.unsent += response.body.size();
    Respond(std::move(response), NewRequestId(), false);
  }
  void Forget() {
    shared_.unsent -= queued_bytes_;
    queued_bytes_ = 0;
    if (!writing_) queue_.clear();
  }

  enum class State { kHeader, kBody, kAnswer, kNext };

  Shared& shared_;
  Stream stream_;
  asio::steady_timer timer_;
  const std::string peer_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  State state_ = State::kHeader;
  std::deque<std::string> queue_;
  size_t queued_bytes_ = 0;
  bool writing_ = false, watching_ = false, finished_ = false, closed_ = false, refused_ = false;
  bool keep_alive_ = true, http_1_1_ = true, chunked_ = false;
  std::atomic<bool> gone_{false};
};

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpOptions& options, Handler handler)
      : shared_(options, std::move(handler)), acceptor_(shared_.io) {
    if (!options.certificate_file.empty()) LoadCertificate(options);
    Listen(options);
    Accept();
    thread_ = std::thread([this] { shared_.io.run(); });
  }
  ~Impl() {
    shared_.handlers.stop();
    shared_.handlers.join();
    asio::post(shared_.io, [this] {
      ErrorCodeOf ignored;
      acceptor_.close(ignored);
      const std::vector<ConnectionBase*> all(shared_.all.begin(), shared_.all.end());
      for (ConnectionBase* connection : all) connection->Close();
      shared_.io.stop();
    });
    thread_.join();
  }
  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  size_t connections() const { return shared_.connections; }
  size_t unsent() const { return shared_.unsent; }

 private:
  void LoadCertificate(const HttpOptions& options) {
    tls_.emplace(asio::ssl::context::tls_server);
    tls_->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                      asio::ssl::context::no_tlsv1_1);
    ErrorCodeOf error;
    tls_->use_certificate_chain_file(options.certificate_file, error);
    if (error)
      Fail(ErrorCode::kUsage, "the certificate {} cannot be used: {}; expected a chain in PEM form",
           options.certificate_file, error.message());
    tls_->use_private_key_file(options.key_file, asio::ssl::context::pem, error);
    if (error)
      Fail(ErrorCode::kUsage, "the key {} cannot be used: {}; expected the certificate's key in PEM form",
           options.key_file, error.message());
  }
  void Listen(const HttpOptions& options) {
    ErrorCodeOf error;
    tcp::resolver resolver(shared_.io);
    const auto found = resolver.resolve(options.host, std::to_string(options.port),
                                        tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (error || found.empty())
      Fail(ErrorCode::kUsage, "the address {} is unknown: {}", options.host, error.message());
    const tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error)
      Fail(ErrorCode::kUsage, "{} port {} cannot be listened on: {}; choose another --host or --port",
           options.host, options.port, error.message());
  }
  void Accept() {
    acceptor_.async_accept([this](ErrorCodeOf error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) {  // no file descriptor left, most likely: not at once again
        retry_.expires_after(std::chrono::milliseconds(50));
        retry_.async_wait([this](ErrorCodeOf e) {
          if (!e) Accept();
        });
        return;
      }
      if (shared_.connections < shared_.options.connections) Begin(std::move(socket));
      Accept();
    });
  }
  void Begin(tcp::socket socket) {
    ErrorCodeOf ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const tcp::endpoint remote = socket.remote_endpoint(ignored);
    std::string peer = remote.address().to_string(ignored);
    if (tls_) {
      std::make_shared<Connection<TlsStream>>(shared_, TlsStream(std::move(socket), *tls_), std::move(peer))
          ->Start();
    } else {
      std::make_shared<Connection<tcp::socket>>(shared_, std::move(socket), std::move(peer))->Start();
    }
  }

  Shared shared_;
  std::optional<asio::ssl::context> tls_;
  tcp::acceptor acceptor_;
  asio::steady_timer retry_{shared_.io};
  std::thread thread_;
};

HttpServer::HttpServer(const HttpOptions& options, Handler handler)
    : impl_(std::make_unique<Impl>(options, std::move(handler))) {}
HttpServer::~HttpServer() = default;
uint16_t HttpServer::port() const {
  return impl_->port();
}
size_t HttpServer::connections() const {
  return impl_->connections();
}
void HttpServer::Flush(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (impl_->unsent() > 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace onecopy::serve
