// Parts of files at any offset and size, around the page cache and through it, and files that end too early.

#include "runtime/base/file_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runtime/base/error.h"

namespace onecopy {
namespace {

using Way = FileReader::Way;

class TempFile {
 public:
  explicit TempFile(size_t bytes, const std::string& folder = ::testing::TempDir()) : content_(bytes, '\0') {
    std::mt19937 random(static_cast<unsigned>(bytes));
    for (char& c : content_) c = static_cast<char>(random());
    path_ = folder + "/file-reader-" + std::to_string(getpid()) + "-" + std::to_string(bytes);
    std::ofstream(path_, std::ios::binary) << content_;
    const int fd = open(path_.c_str(), O_RDONLY);
    fsync(fd);  // dirty pages cannot be dropped
    close(fd);
  }
  ~TempFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }
  const std::string& content() const { return content_; }

  // As the kernel tells, without FileReader.
  size_t CachedPages() const {
    const int fd = open(path_.c_str(), O_RDONLY);
    void* at = mmap(nullptr, content_.size(), PROT_NONE, MAP_SHARED, fd, 0);
    std::vector<unsigned char> pages((content_.size() + 4095) / 4096);
    EXPECT_EQ(mincore(at, content_.size(), pages.data()), 0);
    munmap(at, content_.size());
    close(fd);
    size_t n = 0;
    for (unsigned char page : pages) n += page & 1;
    return n;
  }
  void Drop() const {
    const int fd = open(path_.c_str(), O_RDONLY);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
  void Warm() const {
    std::ifstream(path_, std::ios::binary).ignore(static_cast<std::streamsize>(content_.size()));
  }

 private:
  std::string path_, content_;
};

// A buffer of exactly what the contract asks for, with a guard behind it.
class Buffer {
 public:
  explicit Buffer(uint64_t bytes)
      : bytes_(FileReader::BufferBytes(bytes)),
        data_(static_cast<uint8_t*>(std::aligned_alloc(FileReader::kAlign, bytes_ + FileReader::kAlign)),
              std::free) {
    std::memset(data_.get(), 0xa5, bytes_ + FileReader::kAlign);
  }
  uint8_t* data() { return data_.get(); }
  bool GuardIsWhole() const {
    for (uint64_t i = 0; i < FileReader::kAlign; ++i)
      if (data_.get()[bytes_ + i] != 0xa5) return false;
    return true;
  }

 private:
  uint64_t bytes_;
  std::unique_ptr<uint8_t, void (*)(void*)> data_;
};

void ExpectReads(const FileReader& reader, const TempFile& file, uint64_t offset, uint64_t bytes) {
  SCOPED_TRACE(std::to_string(bytes) + " bytes at " + std::to_string(offset));
  Buffer buffer(bytes);
  const uint8_t* data = reader.Read(offset, bytes, buffer.data());
  EXPECT_EQ(data, buffer.data() + offset % FileReader::kAlign);
  EXPECT_EQ(std::memcmp(data, file.content().data() + offset, bytes), 0);
  EXPECT_TRUE(buffer.GuardIsWhole());
}

std::string ErrorOf(const FileReader& reader, uint64_t offset, uint64_t bytes) {
  Buffer buffer(bytes);
  try {
    reader.Read(offset, bytes, buffer.data());
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    return e.what();
  }
  return "";
}

TEST(FileReader, ReadsAnyPartCachedOrNot) {
  const TempFile file(3 * 1048576 + 777);
  const uint64_t size = file.content().size();
  for (const Way way : {Way::kBest, Way::kCached}) {
    FileReader reader(file.path(), way);
    ASSERT_TRUE(reader.Open());
    EXPECT_EQ(reader.bytes(), size);
    for (const bool warm : {false, true}) {
      for (const uint64_t offset : {0ul, 1ul, 4095ul, 4096ul, 4097ul, 1048576ul + 512}) {
        for (const uint64_t bytes : {1ul, 17ul, 4095ul, 4096ul, 4097ul, 8191ul, 1048576ul}) {
          warm ? file.Warm() : file.Drop();
          ExpectReads(reader, file, offset, bytes);
        }
      }
      for (const uint64_t bytes : {1ul, 776ul, 777ul, 778ul, 5000ul, size})
        ExpectReads(reader, file, size - bytes, bytes);
    }
  }
}

TEST(FileReader, ReadsFilesSmallerThanAPage) {
  for (const size_t size : {1, 100, 511, 512, 4095, 4096, 4097}) {
    const TempFile file(size);
    FileReader reader(file.path());
    ASSERT_TRUE(reader.Open());
    file.Drop();
    ExpectReads(reader, file, 0, size);
    ExpectReads(reader, file, size - 1, 1);
  }
}

TEST(FileReader, GoesRoundTheCacheForWhatIsNotInItAndLeavesNothingThere) {
  const TempFile file(1 << 20);
  file.Drop();
  if (file.CachedPages() > 0) GTEST_SKIP() << ::testing::TempDir() << " keeps its files in memory";
  FileReader reader(file.path());
  ASSERT_TRUE(reader.Open());
  EXPECT_FALSE(reader.Cached(0, 1 << 20));
  ExpectReads(reader, file, 4096, 100000);
  const uint64_t direct = reader.direct_bytes();
  if (direct == 0) GTEST_SKIP() << ::testing::TempDir() << " has no direct reads";
  EXPECT_EQ(direct, 100000u);
  EXPECT_EQ(file.CachedPages(), 0u);
  file.Warm();
  EXPECT_TRUE(reader.Cached(0, 1 << 20));
  ExpectReads(reader, file, 0, 1 << 20);
  EXPECT_EQ(reader.direct_bytes(), direct);
  EXPECT_EQ(file.CachedPages(), 0u);
}

// mincore does not tell of other people's files.
TEST(FileReader, KnowsWhatIsCachedOfAFileThatIsNotItsUsers) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const TempFile file(4 << 20);
  file.Drop();
  if (file.CachedPages() > 0) GTEST_SKIP() << ::testing::TempDir() << " keeps its files in memory";
  ASSERT_EQ(seteuid(65534), 0);
  FileReader reader(file.path());
  const bool open = reader.Open();
  ASSERT_EQ(seteuid(0), 0);
  ASSERT_TRUE(open);
  EXPECT_FALSE(reader.Cached(0, 4 << 20));
  ExpectReads(reader, file, 4096, 100000);
  if (reader.direct_bytes() == 0) GTEST_SKIP() << ::testing::TempDir() << " has no direct reads";
  EXPECT_LE(file.CachedPages(), 2u);  // the bytes that were asked for
  file.Warm();
  EXPECT_TRUE(reader.Cached(0, 4 << 20));
  ExpectReads(reader, file, 0, 4 << 20);
  EXPECT_EQ(reader.direct_bytes(), 100000u);
}

TEST(FileReader, ReadsFilesInMemory) {
  if (!std::filesystem::is_directory("/dev/shm")) GTEST_SKIP() << "no /dev/shm here";
  const TempFile file(300001, "/dev/shm");
  FileReader reader(file.path());
  ASSERT_TRUE(reader.Open());
  ExpectReads(reader, file, 0, 300001);
  ExpectReads(reader, file, 12345, 54321);
}

TEST(FileReader, SaysWhereAFileEndsThatWasLonger) {
  for (const Way way : {Way::kBest, Way::kCached}) {
    for (const uint64_t left : {0ul, 1000ul, 4096ul, 100000ul}) {
      const TempFile file(200000);
      FileReader reader(file.path(), way);
      ASSERT_TRUE(reader.Open());
      std::filesystem::resize_file(file.path(), left);
      if (left > 500) ExpectReads(reader, file, 100, left - 100);
      const std::string at = file.path() + " at byte ";
      const std::string all = ErrorOf(reader, 0, 200000);
      EXPECT_NE(all.find(at + std::to_string(left) + ": the file became shorter"), std::string::npos) << all;
      const std::string behind = ErrorOf(reader, 150001, 17);
      EXPECT_NE(behind.find(at + "150001: the file became shorter"), std::string::npos) << behind;
    }
  }
}

TEST(FileReader, NamesFileOffsetAndReasonWhereAReadFails) {
  FileReader missing(::testing::TempDir() + "/no-such-file");
  EXPECT_FALSE(missing.Open());
  FileReader folder(::testing::TempDir());
  ASSERT_TRUE(folder.Open());
  EXPECT_NE(ErrorOf(folder, 0, 100).find("at byte 0: Is a directory"), std::string::npos);
  // Nothing is mapped there, which is an input/output error.
  FileReader broken("/proc/self/mem");
  ASSERT_TRUE(broken.Open());
  const std::string error = ErrorOf(broken, 4096, 100);
  EXPECT_NE(error.find("/proc/self/mem at byte 4096: Input/output error"), std::string::npos) << error;
}

}  // namespace
}  // namespace onecopy
