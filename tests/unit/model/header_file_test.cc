#include "runtime/model/header_file.h"

#include <sys/stat.h>

#include "tests/unit/model/model_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT

TEST(HeaderFile, ReadsAcrossItsBuffer) {
  const TempDir dir;
  std::string bytes(1000003, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 + i / 251);
  WriteFile(dir / "f", bytes);
  HeaderFile file(dir / "f", 2 << 20);
  std::string read;
  for (uint64_t n = 1; file.Remaining() > 0; n = n * 7 % 5003 + 1) {
    read += file.ReadString(std::min(n, file.Remaining()));
  }
  EXPECT_EQ(read, bytes);
}

TEST(HeaderFile, RefusesWhatIsNotARegularFileWithoutWaiting) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir / "fifo").c_str(), 0600), 0);
  ExpectBadInput([&] { HeaderFile(dir / "fifo", 100); }, {dir / "fifo", "regular file, found a FIFO"});
  ExpectBadInput([&] { HeaderFile(dir.path(), 100); }, {dir.path(), "regular file, found a directory"});
  ExpectBadInput([&] { HeaderFile("/dev/zero", 100); }, {"/dev/zero", "regular file, found a device"});
  ExpectBadInput([&] { HeaderFile(dir / "absent", 100); }, {dir / "absent", "No such file"});
}

TEST(HeaderFile, FollowsSymbolicLinksToRegularFiles) {
  const TempDir dir;
  WriteFile(dir / "blob", "abc");
  std::filesystem::create_symlink("blob", dir / "link");
  EXPECT_EQ(HeaderFile(dir / "link", 100).ReadString(3), "abc");
}

TEST(HeaderFile, RefusesToReadPastTheEndOrTheHeaderLimit) {
  const TempDir dir;
  WriteFile(dir / "f", std::string(100, 'x'));
  HeaderFile file(dir / "f", 50);
  file.ReadString(48);
  ExpectBadInput([&] { file.Read<uint32_t>(); }, {"header is larger than 50 bytes"});
  ExpectBadInput([&] { file.ReadString(53); }, {"53 characters", "52 bytes left"});
  ExpectBadInput([&] { file.Require(UINT64_MAX / 2, 8, "things"); }, {"9223372036854775807 things"});
}

TEST(HeaderFile, NoticesAFileThatShrinks) {
  const TempDir dir;
  WriteFile(dir / "f", std::string(1 << 20, 'x'));
  HeaderFile file(dir / "f", 2 << 20);
  file.ReadString(8);
  std::filesystem::resize_file(dir / "f", 1000);
  ExpectBadInput([&] { file.ReadString(1 << 19); }, {"became shorter while it was read"});
}

}  // namespace
}  // namespace onecopy
