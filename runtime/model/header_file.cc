#include "runtime/model/header_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/base/check.h"

namespace onecopy {
namespace {

// One buffer holds most headers without a vocabulary; larger ones gain nothing.
constexpr uint64_t kBufferBytes = 256 << 10;

const char* KindOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

HeaderFile::HeaderFile(std::string path, uint64_t max_header_bytes)
    : path_(std::move(path)), max_header_bytes_(max_header_bytes) {
  // O_NONBLOCK: opening a FIFO would otherwise wait for a writer. It changes nothing for regular files.
  fd_ = open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd_ < 0) Fail(ErrorCode::kBadInput, "{}: cannot be opened: {}", path_, std::strerror(errno));
  struct stat status;
  const int failed = fstat(fd_, &status);
  if (failed != 0 || !S_ISREG(status.st_mode)) {
    const std::string reason = failed != 0 ? std::strerror(errno) : KindOf(status.st_mode);
    close(fd_);  // the destructor does not run
    Fail(ErrorCode::kBadInput, "{}: expected a regular file, found {}", path_, reason);
  }
  stamp_ = StampOf(status);
}

HeaderFile::~HeaderFile() {
  close(fd_);
}

void HeaderFile::Require(uint64_t count, uint64_t record_bytes, const char* what) const {
  const std::optional<uint64_t> bytes = CheckedMul(count, record_bytes);
  if (!bytes || *bytes > Remaining()) {
    Reject("{} {} of at least {} byte{} announced at byte {}, but the file has only {} bytes left", count,
           what, record_bytes, record_bytes == 1 ? "" : "s", offset_, Remaining());
  }
  if (*bytes > max_header_bytes_ - std::min(offset_, max_header_bytes_)) {
    Reject("{} {} would make the header larger than {} bytes, more than any known model has", count, what,
           max_header_bytes_);
  }
}

void HeaderFile::Read(void* out, uint64_t bytes) {
  if (bytes > Remaining()) {
    Reject("the file ends too early: {} bytes expected at byte {}, {} found", bytes, offset_, Remaining());
  }
  if (bytes > max_header_bytes_ - std::min(offset_, max_header_bytes_)) {
    Reject("the header is larger than {} bytes, more than any known model has", max_header_bytes_);
  }
  char* to = static_cast<char*>(out);
  while (bytes > 0) {
    uint64_t at = offset_ - buffer_begin_;
    if (at >= buffer_.size()) {
      Fill();
      at = 0;
    }
    const uint64_t n = std::min<uint64_t>(bytes, buffer_.size() - at);
    std::memcpy(to, buffer_.data() + at, n);
    to += n;
    offset_ += n;
    bytes -= n;
  }
}

std::string HeaderFile::ReadString(uint64_t bytes) {
  Require(bytes, 1, "characters");
  std::string text(bytes, '\0');
  Read(text.data(), bytes);
  return text;
}

void HeaderFile::Fill() {
  buffer_.resize(std::min(kBufferBytes, Remaining()));
  ssize_t got;
  do {
    got = pread(fd_, buffer_.data(), buffer_.size(), static_cast<off_t>(offset_));
  } while (got < 0 && errno == EINTR);
  if (got < 0) Reject("cannot be read at byte {}: {}", offset_, std::strerror(errno));
  if (got == 0)
    Reject("the file became shorter while it was read: {} bytes expected, {} found", size(), offset_);
  buffer_.resize(static_cast<size_t>(got));
  buffer_begin_ = offset_;
}

}  // namespace onecopy
