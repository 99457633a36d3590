// What all fuzz targets share: files in memory, what an input may cost, what a refusal looks like. One thread; a broken rule
// ends the process, so that libFuzzer keeps the input.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/error.h"

namespace onecopy::fuzz {

// Ends the process with this sentence.
[[noreturn]] void Broken(const std::string& what);

template <typename... Args>
void Require(bool holds, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) Broken(fmt::format(format, std::forward<Args>(args)...));
}

inline std::string_view View(const uint8_t* data, size_t bytes) {
  return {reinterpret_cast<const char*>(data), bytes};
}

// What one input may take while this lives: processor time of the process, so that a busy machine changes nothing, and memory
// that is allocated at once.
class Budget {
 public:
  Budget(double seconds, size_t bytes);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

 private:
  const double seconds_;
  const size_t bytes_;
  const double begin_;
};

// Runs what reads an input; false where it refused it, which it must do with an Error of one of these codes, in one printable
// sentence that names `place` (a file; may be empty). Other exceptions go through, and end the process.
bool Takes(const std::function<void()>& read, std::string_view place = {},
           std::initializer_list<ErrorCode> codes = {ErrorCode::kBadInput});

// A regular file without a place on a disk.
class MemoryFile {
 public:
  MemoryFile();
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void Write(std::string_view content);
  const std::string& path() const { return path_; }

 private:
  int fd_;
  std::string path_;
};

// A directory of such files by names that are given once; those that are empty are not there. The directory itself is in
// TMPDIR, and removed when the process ends in order.
class MemoryDirectory {
 public:
  explicit MemoryDirectory(std::vector<std::string> names);
  ~MemoryDirectory();
  MemoryDirectory(const MemoryDirectory&) = delete;
  MemoryDirectory& operator=(const MemoryDirectory&) = delete;

  void Write(size_t file, std::string_view content);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<std::string> names_;
  std::vector<MemoryFile> files_;
  std::vector<bool> there_;
};

// An input of several parts: a line with "%%" stands between them. At most `parts`; the missing ones are empty.
std::vector<std::string_view> Parts(std::string_view input, size_t parts);

// The value whose bytes the input begins with; the input loses them. Zero bytes where it is too short.
template <typename T>
T TakeNumber(std::string_view* input) {
  T value = 0;
  const size_t bytes = std::min(input->size(), sizeof value);
  for (size_t i = 0; i < bytes; ++i)
    value = static_cast<T>(value | static_cast<T>(static_cast<uint8_t>((*input)[i])) << (8 * i));
  input->remove_prefix(bytes);
  return value;
}

}  // namespace onecopy::fuzz
