#include "runtime/jinja/frame.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace onecopy::jinja {
namespace {

bool ReadAll(int fd, char* to, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = recv(fd, to, bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to += n;
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

bool WriteAll(int fd, const char* from, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = send(fd, from, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    from += n;
    bytes -= static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

std::optional<std::string> ReadFrame(int fd, size_t max_bytes) {
  uint64_t size = 0;
  char header[sizeof(size)];
  if (!ReadAll(fd, header, sizeof(header))) return std::nullopt;
  std::memcpy(&size, header, sizeof(size));
  if (size > max_bytes) return std::nullopt;
  std::string bytes(size, '\0');
  if (!ReadAll(fd, bytes.data(), size)) return std::nullopt;
  return bytes;
}

bool WriteFrame(int fd, std::string_view bytes) {
  const uint64_t size = bytes.size();
  char header[sizeof(size)];
  std::memcpy(header, &size, sizeof(size));
  return WriteAll(fd, header, sizeof(header)) && WriteAll(fd, bytes.data(), bytes.size());
}

}  // namespace onecopy::jinja
