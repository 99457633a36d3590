// NewFile: a file that appears under its name only when it is complete.
#pragma once

#include <cstdint>
#include <string>

namespace onecopy {

// Written in order under a name of its own beside `path` (path.PID.part), then renamed. What is not finished is removed, also
// where SIGINT, SIGTERM or SIGHUP end the process, as far as the program does not handle these itself. What SIGKILL left is
// removed by the next NewFile of the same `path`, and a log line says so. Not thread-safe, but threads may have one each.
class NewFile {
 public:
  // Errors: kBadInput where it cannot be created, another process writes it under the same name (of another container or host,
  // with the same PID), or the file system has less than `bytes` free.
  NewFile(std::string path, uint64_t bytes);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Errors: kBadInput with the reason, as that the disk is full.
  void Write(const void* data, uint64_t bytes);
  void PadTo(uint64_t offset);  // zeros
  void Finish();                // all on disk and in its place

  // Where it is until it is finished.
  const std::string& part() const { return part_; }

 private:
  [[noreturn]] void FailToWrite(int error) const;

  const std::string path_, part_;
  int slot_ = -1;  // of the names that signals remove
  int fd_ = -1;
  uint64_t written_ = 0;
};

}  // namespace onecopy
