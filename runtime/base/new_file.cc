#include "runtime/base/new_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string_view>
#include <system_error>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/log.h"

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

constexpr std::string_view kPart = ".part";

// Whether `name` is still that of the file that is open as `fd`.
bool IsNamed(int fd, const std::string& name) {
  struct stat held, named;
  return fstat(fd, &held) == 0 && lstat(name.c_str(), &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

// Opened, empty, and locked as long as it is open: what tells others, in other containers and on other hosts too, that its
// process lives. On file systems without such locks nobody gets one, so nothing there is taken for left behind either.
int OpenPart(const std::string& part, const std::string& path) {
  int fd = -1;
  do {
    if (fd >= 0) close(fd);  // removed by somebody who had the lock before
    fd = open(part.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) Fail(ErrorCode::kBadInput, "{}: cannot be created: {}", path, std::strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      close(fd);
      Fail(ErrorCode::kBadInput,
           "{}: is being written by another process, which holds {}; wait for it, or write to another file",
           path, part);
    }
  } while (!IsNamed(fd, part));
  if (ftruncate(fd, 0) == 0) return fd;
  const int error = errno;
  close(fd);
  Fail(ErrorCode::kBadInput, "{}: cannot be emptied: {}; remove it", part, std::strerror(error));
}

// Parts of `path` whose process was killed: no process here has its number, and nobody holds its lock.
void RemoveLeftParts(const std::filesystem::path& path) {
  const std::string prefix = path.filename().string() + ".";
  std::error_code error;
  std::filesystem::directory_iterator at(path.has_parent_path() ? path.parent_path() : ".", error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.size() <= prefix.size() + kPart.size() || !name.starts_with(prefix) || !name.ends_with(kPart))
      continue;
    const char *begin = name.data() + prefix.size(), *end = name.data() + name.size() - kPart.size();
    pid_t pid = 0;
    if (const auto read = std::from_chars(begin, end, pid); read.ec != std::errc() || read.ptr != end)
      continue;
    if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH) continue;
    std::error_code unknown;
    if (!std::filesystem::is_regular_file(at->symlink_status(unknown))) continue;
    const int fd = open(at->path().c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) continue;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && IsNamed(fd, at->path()) && unlink(at->path().c_str()) == 0)
      log::info("removed {}, which a process that was killed left", at->path().string());
    close(fd);
  }
}

}  // namespace

NewFile::NewFile(std::string path, uint64_t bytes)
    : path_(std::move(path)), part_(fmt::format("{}.{}{}", path_, getpid(), kPart)) {
  RemoveLeftParts(path_);  // before it is asked for room, which they may take
  fd_ = OpenPart(part_, path_);
  slot_ = TakeSlot(part_);
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
