// HeaderFile: reads the beginning of a file, front to back, with every length checked before anything is
// allocated. pread into a small buffer and never mmap: a file that is truncated while mapped kills the
// process with SIGBUS. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/file_stamp.h"

namespace onecopy {

class HeaderFile {
 public:
  // Opens a regular file (through symbolic links). Reading past max_header_bytes is refused like reading past
  // the end. Errors: kBadInput when it cannot be opened or is a directory, FIFO, socket or device; never
  // blocks on those.
  HeaderFile(std::string path, uint64_t max_header_bytes);
  ~HeaderFile();
  HeaderFile(const HeaderFile&) = delete;
  HeaderFile& operator=(const HeaderFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return stamp_.bytes; }  // of the file, when it was opened
  const FileStamp& stamp() const { return stamp_; }
  uint64_t offset() const { return offset_; }  // of the next byte to read
  uint64_t Remaining() const { return size() - offset_; }

  // Names what is being read, for messages: "metadata key \"x\"".
  void SetContext(std::string context) { context_ = std::move(context); }

  // Refuses unless `count` records of at least `record_bytes` fit into the rest of the file and of the
  // header.
  void Require(uint64_t count, uint64_t record_bytes, const char* what) const;

  void Read(void* out, uint64_t bytes);
  std::string ReadString(uint64_t bytes);
  // A little-endian number; this machine is one too.
  template <typename T>
  T Read() {
    static_assert(std::is_arithmetic_v<T> && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    T value;
    Read(&value, sizeof value);
    return value;
  }

  // Throws kBadInput: "path: context: message".
  template <typename... Args>
  [[noreturn]] void Reject(fmt::format_string<Args...> format, Args&&... args) const {
    Fail(ErrorCode::kBadInput, "{}: {}{}{}", path_, context_, context_.empty() ? "" : ": ",
         fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  void Fill();

  std::string path_;
  std::string context_;
  int fd_ = -1;
  FileStamp stamp_;
  uint64_t max_header_bytes_;
  uint64_t offset_ = 0;
  std::vector<char> buffer_;  // file bytes [buffer_begin_, buffer_begin_ + buffer_.size())
  uint64_t buffer_begin_ = 0;
};

}  // namespace onecopy
