// FileStamp: tells a file from another one that took its name, and from itself with other content.
#pragma once

#include <sys/stat.h>

#include <cstdint>

namespace onecopy {

// Without the device, whose number differs between mounts of one file system.
struct FileStamp {
  uint64_t inode = 0, bytes = 0, modified_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

inline FileStamp StampOf(const struct stat& status) {
  return {status.st_ino, static_cast<uint64_t>(status.st_size),
          static_cast<uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000 +
              static_cast<uint64_t>(status.st_mtim.tv_nsec)};
}

}  // namespace onecopy
