// A folder for a test's files, removed with it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace onecopy::parity {

class TempFolder {
 public:
  TempFolder() {
    char name[] = "/tmp/onecopy-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace onecopy::parity
