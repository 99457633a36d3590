// HTTP/1.1 as handlers see it, and the server that carries it. One thread reads and writes all connections; handlers run on
// a few threads of their own. Source: RFC 9110 and 9112; server-sent events: WHATWG HTML, section 9.2.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace onecopy::serve {

struct HttpRequest {
  std::string method, path, query;             // "POST", "/v1/models", "a=1"
  std::map<std::string, std::string> headers;  // names in lower case; of a repeated one the last
  std::string body;
  std::string peer;  // "127.0.0.1"
  std::string id;    // of the client (X-Request-Id), where it gave a sound one, else made here

  const std::string& Header(const std::string& name) const {
    static const std::string none;
    const auto found = headers.find(name);
    return found == headers.end() ? none : found->second;
  }
};

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
};

// One request and its answer: Respond once, or BeginEvents, any number of SendEvents, End. All calls are thread-safe, never
// wait for the client, and do nothing once it has gone. An exchange that is let go without an answer gets status 500.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  // The request's body is no longer needed: bodies may be large, and answers take long.
  virtual void DropBody() = 0;
  virtual void Respond(HttpResponse response) = 0;
  // Status 200 and text/event-stream.
  virtual void BeginEvents() = 0;
  // text: whole events, each ended by an empty line. A client that does not read what waits for it is disconnected.
  virtual void SendEvents(std::string text) = 0;
  virtual void End() = 0;
  // Whether the client closed the connection, or was disconnected.
  virtual bool gone() const = 0;
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;                    // 0: any that is free
  std::string certificate_file, key_file;  // PEM; empty: without TLS
  size_t header_bytes = 32 << 10;
  size_t body_bytes = 8 << 20;
  size_t bodies = 16;  // times so many that all connections together may hold; more get status 503
  size_t send_buffer_bytes = 4 << 20;  // that wait for a slow reader
  size_t connections = 4096;
  double header_seconds =
      10;  // from the first byte of a request, or the start of a connection, to the end of its header
  double body_seconds = 60;
  double idle_seconds = 60;   // between two requests of a connection
  double write_seconds = 60;  // without progress
  int handler_threads = 2;
};

class HttpServer {
 public:
  using Handler = std::function<void(std::shared_ptr<Exchange>)>;

  // Begins to listen, and to answer. handler: on any of the handlers' threads; must not throw.
  // Errors: kUsage where it cannot listen there, or the certificate or key cannot be used.
  HttpServer(const HttpOptions& options, Handler handler);
  // Ends all connections at once. Exchanges must have been let go.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  bool on_loopback() const;  // only programs of this machine can reach it
  size_t connections() const;
  // Waits until all that exchanges were given is sent, at most so long.
  void Flush(double seconds);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onecopy::serve
