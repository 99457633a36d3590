// What a client sends to the HTTP server, over a real connection: pieces (a line "%%" between them) one after another. The
// first byte says whether it reads between them.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/base/printable.h"
#include "runtime/serve/http.h"
#include "tests/fuzz/support.h"

namespace onecopy::fuzz {
namespace {

using namespace serve;  // NOLINT

HttpServer& Server() {
  static HttpServer server(
      [] {
        HttpOptions options;
        options.port = 0;
        options.header_bytes = 1000;
        options.body_bytes = 2000;
        options.header_seconds = options.body_seconds = options.idle_seconds = options.write_seconds = 5;
        options.handler_threads = 1;
        return options;
      }(),
      [](const std::shared_ptr<Exchange>& exchange) {
        const HttpRequest& request = exchange->request();
        Require(request.body.size() <= 2000, "a body of {} bytes", request.body.size());
        size_t header = 0;
        for (const auto& [name, value] : request.headers) {
          Require(name.find_first_of("\r\n") == std::string::npos &&
                      value.find_first_of("\r\n") == std::string::npos,
                  "a line break in the header {}", Printable(name));
          header += name.size() + value.size();
        }
        Require(header <= 1000, "a header of {} bytes", header);
        Require(!request.id.empty() && request.id.size() <= 128, "an id of {} bytes", request.id.size());
        if (request.path == "/stream") {
          exchange->BeginEvents();
          exchange->SendEvents("data: 1\n\n");
          return exchange->End();
        }
        HttpResponse response;
        response.body = request.method + " " + request.path;
        exchange->Respond(std::move(response));
      });
  return server;
}

// From one address of the loopback network after the other: a port that was closed is not to be had again for a minute.
int Connect(uint16_t port) {
  static uint32_t address = 0x7F000002;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in own = {}, server = {};
  own.sin_family = server.sin_family = AF_INET;
  address = 0x7F000002 + (address + 1) % 0xFFFF00;
  own.sin_addr.s_addr = htonl(address);
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server.sin_port = htons(port);
  Require(bind(fd, reinterpret_cast<sockaddr*>(&own), sizeof own) == 0 &&
              connect(fd, reinterpret_cast<sockaddr*>(&server), sizeof server) == 0,
          "no connection");
  return fd;
}

}  // namespace
}  // namespace onecopy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  std::string_view input = View(data, size);
  const bool reads = TakeNumber<uint8_t>(&input) % 2 == 1;
  Server();
  const Budget budget(2, (8 << 20) + 100 * size);
  const int fd = Connect(Server().port());
  std::string answer;
  char piece[4096];
  for (const std::string_view part : Parts(input, 8)) {
    if (!part.empty() && send(fd, part.data(), part.size(), MSG_NOSIGNAL) < 0) break;
    pollfd ready{fd, POLLIN, 0};
    if (!reads || poll(&ready, 1, 2) <= 0) continue;
    const ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n > 0) answer.append(piece, static_cast<size_t>(n));
  }
  shutdown(fd, SHUT_WR);
  ssize_t n;
  while ((n = recv(fd, piece, sizeof piece, 0)) > 0) answer.append(piece, static_cast<size_t>(n));
  close(fd);
  while (Server().connections() > 0) usleep(20);
  // Nothing, or answers and nothing before them.
  Require(answer.empty() || answer.starts_with("HTTP/1.1 "), "an answer that is none: {}",
          Printable(answer, 200));
  return 0;
}
