// FileReader: reads parts of a file once, as fast as the storage or the page cache gives them, and leaves nothing of them
// in the page cache. What is not cached is read around the cache (O_DIRECT); what is, and everything on file systems
// without direct reads (tmpfs, some overlays and network mounts), through it, and dropped behind. Not mmap: a file that
// shrinks would be a SIGBUS. Thread-safe once open.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "runtime/base/file_stamp.h"

namespace onecopy {

class FileReader {
 public:
  // Direct reads want file offset, length and memory at multiples of the storage's block. A page is enough for all
  // common ones; storage that asks for more refuses, and is read through the cache.
  static constexpr uint64_t kAlign = 4096;
  // A buffer for `bytes` bytes at any offset: aligned, both ends are read to a multiple of kAlign.
  static constexpr uint64_t BufferBytes(uint64_t bytes) {
    return (bytes + kAlign - 1) / kAlign * kAlign + kAlign;
  }

  enum class Way { kBest, kCached };

  // Way::kCached never reads around the page cache.
  explicit FileReader(std::string path, Way way = Way::kBest) : path_(std::move(path)), way_(way) {}
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  // False where no such file exists. Errors: kBadInput where it cannot be opened for another reason.
  bool Open();
  const std::string& path() const { return path_; }
  uint64_t bytes() const { return stamp_.bytes; }  // when it was opened
  const FileStamp& stamp() const { return stamp_; }
  // False where somebody has written to it since, as far as its time of modification tells.
  bool Unchanged() const;

  // Reads bytes [offset, offset + bytes). buffer: BufferBytes(bytes), at a multiple of kAlign; its first byte is that of
  // the file at `offset` rounded down to kAlign, and what is after the bytes asked for is overwritten too. Returns where
  // the byte at `offset` lies. Errors: kBadInput naming file, offset and reason; a file that has become shorter is one.
  uint8_t* Read(uint64_t offset, uint64_t bytes, uint8_t* buffer) const;

  // Drops from the page cache what of the file is there, as far as the kernel follows the advice.
  void DropCache() const { Drop(0, 0); }

  // Whether the page cache holds most of these bytes, or, of files that this user neither owns nor may write, the one in
  // their middle: of those the kernel tells no more.
  bool Cached(uint64_t offset, uint64_t bytes) const;
  // Bytes that were read around the page cache.
  uint64_t direct_bytes() const { return direct_bytes_.load(std::memory_order_relaxed); }

 private:
  void OpenDirect();
  void PrepareToAsk(bool owned);
  uint64_t ReadDirect(uint64_t begin, uint64_t end, uint8_t* buffer) const;
  void ReadCached(uint64_t offset, uint64_t bytes, uint8_t* to) const;
  void Drop(uint64_t offset, uint64_t bytes) const;
  [[noreturn]] void FailToRead(uint64_t offset, int error) const;

  const std::string path_;
  const Way way_;
  int fd_ = -1;
  int direct_fd_ = -1;
  FileStamp stamp_;
  // To ask what is cached: the whole file mapped without access, or a descriptor on which nothing is read ahead.
  void* mapped_ = nullptr;
  int probe_fd_ = -1;
  mutable std::atomic<bool> direct_ = false;
  mutable std::atomic<uint64_t> direct_bytes_ = 0;
};

}  // namespace onecopy
