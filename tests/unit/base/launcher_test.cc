#include "runtime/base/launcher.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "runtime/base/file.h"

namespace onecopy {
namespace {

namespace fs = std::filesystem;

class LauncherNameTest : public ::testing::Test {
 protected:
  LauncherNameTest() {
    std::string name = (fs::temp_directory_path() / "onecopy-launcher-XXXXXX").string();
    prefix_ = mkdtemp(name.data());
    for (const char* folder : {"lib/onecopy/launch", "tree/launch", "bin", "other"})
      fs::create_directories(prefix_ / folder);
    for (const fs::path& file : {Installed(), Tree(), prefix_ / "other/onecopy"})
      WriteFile(file.string(), file.string());
    fs::create_symlink("../lib/onecopy/launch/onecopy", prefix_ / "bin/onecopy");
  }
  ~LauncherNameTest() override { fs::remove_all(prefix_); }

  fs::path Installed() const { return prefix_ / "lib/onecopy/launch/onecopy"; }
  fs::path Tree() const { return prefix_ / "tree/launch/onecopy"; }
  std::string Path(const char* first, const char* second) const {
    return (prefix_ / first).string() + ":" + (prefix_ / second).string();
  }

  fs::path prefix_;
};

TEST_F(LauncherNameTest, IsWhatAShellFindsWhereThatIsThisLauncher) {
  EXPECT_EQ(LauncherName(Installed(), Path("there-is-none", "bin").c_str()), "onecopy");
  EXPECT_EQ(LauncherName(Tree(), Path("tree/launch", "bin").c_str()), "onecopy");
}

TEST_F(LauncherNameTest, IsItsPlaceWhereTheShellFindsNoneOrAnother) {
  const std::string in_prefix = (prefix_ / "bin/onecopy").string();
  EXPECT_EQ(LauncherName(Installed(), nullptr), in_prefix);
  EXPECT_EQ(LauncherName(Installed(), "/nowhere"), in_prefix);
  EXPECT_EQ(LauncherName(Installed(), Path("other", "bin").c_str()), in_prefix);
  EXPECT_EQ(LauncherName(Tree(), Path("bin", "other").c_str()), "launch/onecopy");
  EXPECT_EQ(LauncherName(Tree(), nullptr), "launch/onecopy");
  EXPECT_EQ(LauncherName("", nullptr), "launch/onecopy");
  fs::remove(prefix_ / "bin/onecopy");
  EXPECT_EQ(LauncherName(Installed(), nullptr), "launch/onecopy") << "of a folder lib/onecopy that is a tree";
}

TEST(LauncherName, OfThisTreeIsLaunchOnecopy) {
  EXPECT_EQ(LauncherName(FindShipped({"launch/onecopy"}), nullptr), "launch/onecopy");
}

}  // namespace
}  // namespace onecopy
