#include "runtime/base/file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace onecopy {
namespace {

namespace fs = std::filesystem;

TEST(FindShipped, LooksUpwardsAndTakesTheNearest) {
  std::string name = (fs::temp_directory_path() / "onecopy-shipped-XXXXXX").string();
  const fs::path root = mkdtemp(name.data());
  const fs::path program = root / "lib" / "onecopy";
  fs::create_directories(program);
  const auto find = [&] { return FindShipped(program.string(), {"models/a", "share/models/a"}); };
  EXPECT_EQ(find(), "");
  fs::create_directories(root / "share" / "models" / "a");
  EXPECT_EQ(find(), (root / "share" / "models" / "a").string());
  fs::create_directories(program / "models" / "a");
  EXPECT_EQ(find(), (program / "models" / "a").string());
  fs::remove_all(program / "models");
  // As /tmp is: anybody could put a model of theirs there.
  fs::permissions(root / "lib", fs::perms::others_write | fs::perms::sticky_bit, fs::perm_options::add);
  EXPECT_EQ(find(), "");
  fs::remove_all(root);
}

TEST(FindShipped, FindsWhatThisTreeShips) {
  EXPECT_NE(FindShipped({"models/tiny-moe-q8_0.gguf"}), "");
  EXPECT_EQ(FindShipped({"models/there-is-none.gguf"}), "");
}

}  // namespace
}  // namespace onecopy
