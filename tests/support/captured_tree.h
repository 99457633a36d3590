// CapturedTree: a machine from tests/data/sysfs (see capture_sysfs.py for the format) unpacked into a folder of its
// own, which is removed with it. One thread.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace onecopy::testing {

class CapturedTree {
 public:
  // An empty tree, to be filled by Write.
  CapturedTree() {
    std::string pattern = ::testing::TempDir() + "onecopy-sysfs-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    root_ = pattern;
  }
  explicit CapturedTree(const std::string& machine) : CapturedTree() {
    std::ifstream file(std::string(ONECOPY_TEST_DATA) + "/sysfs/" + machine + ".txt");
    if (!file) throw std::runtime_error("no captured machine " + machine);
    for (std::string line; std::getline(file, line);) {
      const size_t tab = line.find('\t');
      if (line.empty() || line[0] == '#') continue;
      const std::string text = Unescape(line.substr(tab + 1)) + "\n";
      for (const std::string& path : ExpandPath(line.substr(0, tab))) Write(path, text);
    }
  }
  ~CapturedTree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  CapturedTree(const CapturedTree&) = delete;
  CapturedTree& operator=(const CapturedTree&) = delete;

  const std::string& root() const { return root_; }

  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path full = std::filesystem::path(root_) / path;
    // Thousands of files in few folders: asking for each whether its folder exists takes most of the time.
    if (full.parent_path() != last_folder_) std::filesystem::create_directories(full.parent_path());
    last_folder_ = full.parent_path();
    std::ofstream(full) << text;
  }
  void Remove(const std::string& path) const {
    std::filesystem::remove_all(std::filesystem::path(root_) / path);
  }

 private:
  static std::string Unescape(const std::string& text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
      } else if (++i < text.size()) {
        out += text[i] == 'n' ? '\n' : text[i] == 't' ? '\t' : text[i];
      }
    }
    return out;
  }

  // "cpu[0-1,8]/x" -> {"cpu0/x", "cpu1/x", "cpu8/x"}
  static std::vector<std::string> ExpandPath(const std::string& path) {
    const size_t open = path.find('['), close = path.find(']');
    if (open == std::string::npos) return {path};
    std::vector<std::string> out;
    for (const char* at = path.c_str() + open; *at != ']';) {
      char* end = nullptr;
      const long first = std::strtol(at + 1, &end, 10);
      const long last = *end == '-' ? std::strtol(end + 1, &end, 10) : first;
      for (long id = first; id <= last; ++id) {
        out.push_back(path.substr(0, open) + std::to_string(id) + path.substr(close + 1));
      }
      at = end;
    }
    return out;
  }

  std::string root_;
  mutable std::filesystem::path last_folder_;
};

}  // namespace onecopy::testing
