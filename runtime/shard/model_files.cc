#include "runtime/shard/model_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/base/error.h"

namespace onecopy::shard {

ModelFiles::~ModelFiles() {
  for (const int fd : fds_) close(fd);
}

std::string ModelFiles::Open() {
  for (int f = 0; f < spec_.files_size(); ++f) {
    const std::string& path = spec_.files(f);
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return path;
    if (fd < 0) Fail(ErrorCode::kBadInput, "cannot open {}: {}", path, std::strerror(errno));
    fds_.push_back(fd);
    struct stat st;
    if (fstat(fd, &st) != 0 || static_cast<uint64_t>(st.st_size) != spec_.file_bytes(f))
      Fail(ErrorCode::kBadInput,
           "{} has {} bytes, but had {} when rank 0 read its headers; it must be the same on every host, and "
           "not "
           "change while it is loaded",
           path, static_cast<uint64_t>(st.st_size), spec_.file_bytes(f));
  }
  return "";
}

void ModelFiles::Read(const ReadBlock& block, uint8_t* to) const {
  for (const FilePiece& piece : block.pieces) {
    if (piece.runs == 1)
      ReadBytes(piece.file, piece.offset, piece.bytes, to);
    else
      ReadRuns(piece, to);
    to += piece.bytes * piece.runs;
  }
}

void ModelFiles::ReadBytes(uint32_t file, uint64_t offset, uint64_t bytes, uint8_t* to) const {
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t n = pread(fds_[file], to + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      Fail(ErrorCode::kBadInput, "cannot read {} at byte {}: {}", spec_.files(static_cast<int>(file)),
           offset + done, n == 0 ? "the file became shorter while it was loaded" : std::strerror(errno));
    done += static_cast<uint64_t>(n);
  }
  Drop(file, offset, bytes);
}

// Short gaps are read too and left out by copying: a call for each short run would cost more.
void ModelFiles::ReadRuns(const FilePiece& piece, uint8_t* to) const {
  constexpr uint64_t kScratchBytes = 1 << 20;
  const uint64_t runs_at_once = piece.stride - piece.bytes >= kMinSkippedRowBytes
                                    ? 1
                                    : std::max<uint64_t>(1, kScratchBytes / piece.stride);
  std::vector<uint8_t> scratch(runs_at_once > 1 ? runs_at_once * piece.stride : 0);
  for (uint64_t run = 0; run < piece.runs; run += runs_at_once) {
    const uint64_t n = std::min<uint64_t>(runs_at_once, piece.runs - run);
    uint8_t* into = n > 1 ? scratch.data() : to;
    ReadBytes(piece.file, piece.offset + run * piece.stride, (n - 1) * piece.stride + piece.bytes, into);
    for (uint64_t i = 0; n > 1 && i < n; ++i)
      std::memcpy(to + i * piece.bytes, scratch.data() + i * piece.stride, piece.bytes);
    to += n * piece.bytes;
  }
}

// The page cache must not hold a second copy of the model. Advice only: a file system may ignore it.
void ModelFiles::Drop(uint32_t file, uint64_t offset, uint64_t bytes) const {
  (void)posix_fadvise(fds_[file], static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED);
}

void ModelFiles::DropCache() const {
  for (size_t f = 0; f < fds_.size(); ++f) Drop(static_cast<uint32_t>(f), 0, 0);
}

}  // namespace onecopy::shard
