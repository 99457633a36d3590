// One connection of the HTTP server, with or without TLS, from its first byte to its last. Only http_server.cc includes
// this; all of it is for the server's thread but what is said to be otherwise.
#pragma once

#include <deque>
#include <optional>

#include "runtime/base/log.h"
#include "runtime/serve/http_exchange.h"

namespace onecopy::serve::internal {

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
    shared_.body_bytes -= body_bytes_;
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
    text += fmt::format("Content-Type: {}\r\nX-Request-Id: {}\r\n", response.content_type, id);
    if (response.status != 304)  // whose length would be that of what the client has
      text += fmt::format("Content-Length: {}\r\n", response.body.size());
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
    if (state_ == State::kHeader && (buffer_.size() > 0 || parser_->got_some()))
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
    parser_->eager(false);  // the body has a limit and a time of its own
    header_bytes_ = 0;
    ReadMoreOfHeader();
  }
  // Beast's limit is one of the bytes that it has not taken yet: a header of many fields that come one by one would have none.
  void ReadMoreOfHeader() {
    http::async_read_some(stream_, buffer_, *parser_,
                          [self = this->shared_from_this()](ErrorCodeOf error, size_t n) {
                            if (self->closed_ || self->refused_) return;
                            self->header_bytes_ += n;
                            if (!error && self->header_bytes_ > self->shared_.options.header_bytes)
                              error = http::error::header_limit;
                            if (!error && !self->parser_->is_header_done()) return self->ReadMoreOfHeader();
                            self->OnHeader(error);
                          });
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
    if (!ReserveBody(length ? *length : parser_->chunked() ? shared_.options.body_bytes : 0))
      return Refuse(503, "the server has as many large requests as it takes; try again later");
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
  bool ReserveBody(size_t bytes) {
    if (shared_.body_bytes + bytes > shared_.options.bodies * shared_.options.body_bytes) return false;
    shared_.body_bytes += bytes;
    body_bytes_ = bytes;
    return true;
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
    auto exchange = std::make_shared<ExchangeOf<Stream>>(shared_, this->shared_from_this(),
                                                         std::move(request), std::exchange(body_bytes_, 0));
    asio::post(shared_.handlers, [&shared = shared_, exchange = std::move(exchange)]() mutable {
      shared.handler(std::move(exchange));
    });
    Watch();
  }

  // While a request is answered, and until the next one: notices a client that goes. What it sends already belongs to its
  // next request, and ends the watch.
  void Watch() {
    if (closed_ || watching_ || buffer_.size() > 0) return;
    watching_ = true;
    constexpr size_t kPiece = 4096;
    stream_.async_read_some(buffer_.prepare(kPiece),
                            [self = this->shared_from_this()](ErrorCodeOf error, size_t n) {
                              self->watching_ = false;
                              if (error) return self->Close();
                              self->buffer_.commit(n);
                              self->Next();
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
    stream_.async_read_some(buffer_.prepare(kReadBytes),
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
  static constexpr size_t kReadBytes = 65536;  // most at once; Beast's own number

  Shared& shared_;
  Stream stream_;
  asio::steady_timer timer_;
  const std::string peer_;
  // What Beast has read and not taken: a header, a chunk's line, or all fields behind the last chunk, for which it waits.
  beast::flat_buffer buffer_{shared_.options.header_bytes + kReadBytes};
  std::optional<http::request_parser<http::string_body>> parser_;
  State state_ = State::kHeader;
  std::deque<std::string> queue_;
  size_t queued_bytes_ = 0;
  size_t header_bytes_ = 0;  // of the request that is being read
  size_t body_bytes_ = 0;    // reserved for the body that is being read
  bool writing_ = false, watching_ = false, finished_ = false, closed_ = false, refused_ = false;
  bool keep_alive_ = true, http_1_1_ = true, chunked_ = false;
  std::atomic<bool> gone_{false};
};

}  // namespace onecopy::serve::internal
