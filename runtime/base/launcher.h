// What a user types to start this program, for texts that say what to run. Thread-safe.
#pragma once

#include <string>

namespace onecopy {

// "onecopy" where that is in the PATH and leads to this program's launcher, PREFIX/bin/onecopy where it is installed outside
// of the PATH, else "launch/onecopy", its place in the tree. launch/onecopy has the same rule.
std::string LauncherName();
// The same for a launcher by its path, and another PATH, which may be nullptr.
std::string LauncherName(const std::string& launcher, const char* path);

}  // namespace onecopy
