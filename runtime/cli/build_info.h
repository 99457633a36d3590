// What this program was made from and with: the text of --version.
#pragma once

#include <string>

namespace onecopy::cli {

// The commit, as `git describe` names it, "-dirty" where files differed from it; "unknown" outside of git and its archives.
// In a file of its own that cmake/commit.cmake writes.
extern const char kCommit[];

// Several lines: version and commit, how it was compiled, Open MPI, kernel tables, optional parts.
std::string VersionText();

}  // namespace onecopy::cli
