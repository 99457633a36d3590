#include "runtime/base/launcher.h"

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>

#include "runtime/base/file.h"

namespace onecopy {
namespace fs = std::filesystem;

std::string LauncherName() {
  return LauncherName(FindShipped({"launch/onecopy"}), std::getenv("PATH"));
}

std::string LauncherName(const std::string& launcher, const char* path) {
  std::error_code absent;
  const auto is_launcher = [&](const fs::path& file) { return fs::equivalent(file, launcher, absent); };
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const fs::path file = fs::path(folder.empty() ? "." : folder) / "onecopy";
    if (!fs::is_regular_file(file, absent)) continue;
    if (is_launcher(file)) return "onecopy";
    break;  // another one, which a shell takes
  }
  // PREFIX/lib/onecopy/launch/onecopy
  const fs::path home = fs::path(launcher).parent_path().parent_path();
  const fs::path installed = home.parent_path().parent_path() / "bin" / "onecopy";
  if (home.filename() == "onecopy" && home.parent_path().filename() == "lib" && is_launcher(installed))
    return installed.string();
  return "launch/onecopy";
}

}  // namespace onecopy
