// By pread(2) on two descriptors, mincore(2) or RWF_NOWAIT of preadv2(2), and posix_fadvise(2).
#include "runtime/base/file_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/base/error.h"

namespace onecopy {

FileReader::~FileReader() {
  if (mapped_ != nullptr) munmap(mapped_, bytes());
  if (probe_fd_ >= 0) close(probe_fd_);
  if (direct_fd_ >= 0) close(direct_fd_);
  if (fd_ >= 0) close(fd_);
}

bool FileReader::Open() {
  ONECOPY_CHECK(fd_ < 0);
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0 && (errno == ENOENT || errno == ENOTDIR)) return false;
  struct stat st;
  if (fd_ < 0 || fstat(fd_, &st) != 0)
    Fail(ErrorCode::kBadInput, "cannot open {}: {}", path_, std::strerror(errno));
  stamp_ = StampOf(st);
  if (way_ == Way::kCached) return true;
  OpenDirect();
  if (direct_) PrepareToAsk(st.st_uid == geteuid() || geteuid() == 0);
  return true;
}

bool FileReader::Unchanged() const {
  struct stat st;
  return fstat(fd_, &st) == 0 && StampOf(st) == stamp_;
}

void FileReader::OpenDirect() {
  direct_fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  // The name may be another file's by now.
  struct stat one, other;
  direct_ = direct_fd_ >= 0 && fstat(fd_, &one) == 0 && fstat(direct_fd_, &other) == 0 &&
            one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

// Since Linux 5.2 mincore calls every page of other people's files cached, which says nothing.
void FileReader::PrepareToAsk(bool owned) {
  if (bytes() == 0) return;
  if (owned || faccessat(AT_FDCWD, path_.c_str(), W_OK, AT_EACCESS) == 0) {
    void* mapped = mmap(nullptr, bytes(), PROT_NONE, MAP_SHARED, fd_, 0);
    if (mapped != MAP_FAILED) mapped_ = mapped;
  } else {
    probe_fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (probe_fd_ >= 0) (void)posix_fadvise(probe_fd_, 0, 0, POSIX_FADV_RANDOM);
  }
}

bool FileReader::Cached(uint64_t offset, uint64_t bytes) const {
  const uint64_t begin = offset / kAlign * kAlign;
  const uint64_t end = std::min(offset + bytes, stamp_.bytes);
  if (begin >= end) return false;
  if (probe_fd_ >= 0) {
    // Does not wait for the storage; where the page is not there the kernel begins to read that one.
    uint8_t byte;
    const iovec to = {&byte, 1};
    return preadv2(probe_fd_, &to, 1, static_cast<off_t>(begin + (end - begin) / 2), RWF_NOWAIT) == 1;
  }
  if (mapped_ == nullptr) return false;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident(DivUp(end - begin, page));
  if (begin % page != 0 || mincore(static_cast<uint8_t*>(mapped_) + begin, end - begin, resident.data()) != 0)
    return false;
  const auto n =
      std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return (r & 1) != 0; });
  return 2 * static_cast<uint64_t>(n) >= resident.size();
}

uint8_t* FileReader::Read(uint64_t offset, uint64_t bytes, uint8_t* buffer) const {
  const uint64_t head = offset % kAlign, begin = offset - head, end = offset + bytes;
  uint8_t* data = buffer + head;
  uint64_t done = 0;
  if (direct_.load(std::memory_order_relaxed) && bytes > 0 && !Cached(offset, bytes)) {
    const uint64_t got = ReadDirect(begin, end, buffer);
    done = std::min(bytes, got - std::min(got, head));
    direct_bytes_.fetch_add(done, std::memory_order_relaxed);
  }
  if (done < bytes) ReadCached(offset + done, bytes - done, data + done);
  return data;
}

// Returns how many bytes from `begin` are in the buffer. Fewer than asked for: the file ends there, or the file system
// does not read directly; the cached read that follows tells.
uint64_t FileReader::ReadDirect(uint64_t begin, uint64_t end, uint8_t* buffer) const {
  ONECOPY_CHECK(reinterpret_cast<uintptr_t>(buffer) % kAlign == 0);
  const uint64_t span = RoundUp(end, kAlign) - begin;
  uint64_t got = 0;
  while (begin + got < end) {
    const ssize_t n = pread(direct_fd_, buffer + got, span - got, static_cast<off_t>(begin + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
      direct_.store(false, std::memory_order_relaxed);
      break;
    }
    if (n < 0) FailToRead(begin + got, errno);
    got += static_cast<uint64_t>(n);
    if (n == 0 || n % kAlign != 0) break;  // only at the end of a file
  }
  return got;
}

void FileReader::ReadCached(uint64_t offset, uint64_t bytes, uint8_t* to) const {
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t n = pread(fd_, to + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) FailToRead(offset + done, n == 0 ? 0 : errno);
    done += static_cast<uint64_t>(n);
  }
  Drop(offset, bytes);
}

void FileReader::Drop(uint64_t offset, uint64_t bytes) const {
  (void)posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED);
}

void FileReader::FailToRead(uint64_t offset, int error) const {
  Fail(ErrorCode::kBadInput, "cannot read {} at byte {}: {}", path_, offset,
       error == 0 ? "the file became shorter while it was loaded" : std::strerror(error));
}

}  // namespace onecopy
