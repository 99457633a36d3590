#include "runtime/base/new_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace onecopy {
namespace {

constexpr std::array kEndSignals = {SIGINT, SIGTERM, SIGHUP};

// Names of unfinished files, in memory that is never given back: a handler may read it at any time. More files at once than
// slots, and names that are too long, are not removed by signals.
struct Slot {
  std::atomic<bool> used = false;
  char path[PATH_MAX] = "";
};
std::array<Slot, 4> slots;
std::mutex mutex;  // of all that follows, and of taking and leaving slots
int num_used = 0;

void RemoveAndEnd(int signal) {
  for (const Slot& slot : slots)
    if (slot.used) unlink(slot.path);
  raise(signal);  // SA_RESETHAND: ends the process when this returns
}

void Replace(void (*from)(int), void (*to)(int), int flags) {
  for (const int signal : kEndSignals) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) != 0 || action.sa_handler != from) continue;
    action = {};
    action.sa_handler = to;
    action.sa_flags = flags;
    sigaction(signal, &action, nullptr);
  }
}

int TakeSlot(const std::string& path) {
  const std::lock_guard lock(mutex);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].used || path.size() >= sizeof slots[i].path) continue;
    std::memcpy(slots[i].path, path.c_str(), path.size() + 1);
    slots[i].used = true;
    if (num_used++ == 0) Replace(SIG_DFL, RemoveAndEnd, SA_RESETHAND);
    return static_cast<int>(i);
  }
  return -1;
}

void LeaveSlot(int i) {
  if (i < 0) return;
  const std::lock_guard lock(mutex);
  slots[i].used = false;
  if (--num_used == 0) Replace(RemoveAndEnd, SIG_DFL, 0);
}

}  // namespace

NewFile::NewFile(std::string path, uint64_t bytes)
    : path_(std::move(path)), part_(fmt::format("{}.{}.part", path_, getpid())), slot_(TakeSlot(part_)) {
  fd_ = open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  const int error = errno;
  if (fd_ < 0) LeaveSlot(slot_);  // the destructor does not run
  if (fd_ < 0) Fail(ErrorCode::kBadInput, "{}: cannot be created: {}", path_, std::strerror(error));
  struct statvfs file_system;
  if (fstatvfs(fd_, &file_system) != 0 || file_system.f_blocks == 0) return;
  const uint64_t free_bytes = uint64_t{file_system.f_bavail} * file_system.f_frsize;
  if (free_bytes >= bytes) return;
  close(fd_);
  unlink(part_.c_str());
  LeaveSlot(slot_);
  Fail(ErrorCode::kBadInput,
       "{}: {} bytes are needed, but its file system has only {} free; make room or write elsewhere", path_,
       bytes, free_bytes);
}

NewFile::~NewFile() {
  if (fd_ >= 0) {
    close(fd_);
    unlink(part_.c_str());
  }
  LeaveSlot(slot_);
}

void NewFile::FailToWrite(int error) const {
  Fail(ErrorCode::kBadInput, "{}: cannot be written at byte {}: {}; what was written is removed", path_,
       written_, std::strerror(error));
}

void NewFile::Write(const void* data, uint64_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = write(fd_, from, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) FailToWrite(errno);
    from += n;
    written_ += static_cast<uint64_t>(n);
    bytes -= static_cast<uint64_t>(n);
  }
}

void NewFile::PadTo(uint64_t offset) {
  ONECOPY_CHECK(offset >= written_);
  const std::string zeros(offset - written_, '\0');
  Write(zeros.data(), zeros.size());
}

void NewFile::Finish() {
  // EINVAL: a file system that does not know it.
  if (fsync(fd_) != 0 && errno != EINVAL) FailToWrite(errno);
  if (std::rename(part_.c_str(), path_.c_str()) != 0)
    Fail(ErrorCode::kBadInput, "{}: cannot be put in place of {}: {}", part_, path_, std::strerror(errno));
  close(fd_);
  fd_ = -1;
}

}  // namespace onecopy
