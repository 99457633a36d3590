// Runs the onecopy that was built with the tests, alone or over several ranks.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/run_command.h"

namespace onecopy::test {

inline const std::string kDefaultModel = ONECOPY_SOURCE_DIR "/models/tiny-moe-q8_0.gguf";

// One rank, no launcher.
inline CommandResult Onecopy(std::vector<std::string> args, const CommandOptions& options = {}) {
  args.insert(args.begin(), ONECOPY_BINARY);
  return RunCommand(args, options);
}

// mpirun with as many ranks, all on this host.
inline CommandResult OnecopyRanks(int ranks, const std::vector<std::string>& args,
                                  const CommandOptions& options = {}) {
  std::vector<std::string> argv = {"mpirun", "--oversubscribe",    "--bind-to", "none",
                                   "-n",     std::to_string(ranks)};
  if (getuid() == 0) argv.insert(argv.begin() + 1, "--allow-run-as-root");
  argv.push_back(ONECOPY_BINARY);
  argv.insert(argv.end(), args.begin(), args.end());
  return RunCommand(argv, options);
}

// A name for a file that this test makes and removes.
class TempFile {
 public:
  explicit TempFile(const std::string& suffix = "") {
    char name[] = "/tmp/onecopy-test-XXXXXX";
    const int fd = mkstemp(name);
    if (fd >= 0) close(fd);
    base_ = name;
    path_ = base_ + suffix;
  }
  ~TempFile() {
    unlink(base_.c_str());
    if (path_ != base_) unlink(path_.c_str());
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  const std::string& path() const { return path_; }
  // How many files have a name that begins with this one's: it, and those under which programs write it.
  ptrdiff_t NumFiles() const {
    const std::filesystem::directory_iterator folder(std::filesystem::path(path_).parent_path());
    return std::count_if(begin(folder), end(folder),
                         [&](const auto& entry) { return entry.path().string().rfind(path_, 0) == 0; });
  }
  std::string Read() const {
    std::ifstream file(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

 private:
  std::string base_, path_;
};

// Values of a NumPy file with two dimensions of little-endian f32.
inline std::vector<float> ReadNpy(const TempFile& file) {
  const std::string bytes = file.Read();
  if (bytes.size() < 10 || bytes.compare(0, 6, "\x93NUMPY") != 0) return {};
  const size_t header = static_cast<uint8_t>(bytes[8]) + 256 * static_cast<uint8_t>(bytes[9]);
  if (bytes.find("'<f4'") > 10 + header) return {};
  std::vector<float> values((bytes.size() - 10 - header) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + 10 + header, values.size() * sizeof(float));
  return values;
}

}  // namespace onecopy::test
