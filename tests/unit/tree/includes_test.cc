// Dependencies point one way: a test fails on any new edge between modules, and on a library used outside its fence.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace onecopy {
namespace {

namespace fs = std::filesystem;

// What each module may include, beside itself.
const std::map<std::string, std::set<std::string>> kAllowed = {
    {"kernels", {}},
    {"runtime/base", {}},
    {"runtime/jinja", {"runtime/base"}},
    {"runtime/text", {"runtime/base", "runtime/jinja"}},
    {"runtime/grammar", {"runtime/base", "runtime/text"}},
    {"runtime/model", {"runtime/base", "proto", "kernels"}},
    {"runtime/numa", {"runtime/base", "proto"}},
    {"runtime/comm", {"runtime/base"}},
    {"runtime/report", {"runtime/base", "runtime/numa", "proto", "kernels"}},
    {"runtime/shard", {"runtime/base", "runtime/model", "runtime/numa", "runtime/comm", "proto", "kernels"}},
    {"runtime/exec", {"runtime/base", "runtime/comm", "runtime/numa", "runtime/shard", "proto", "kernels"}},
    {"runtime/serve",
     {"runtime/base", "runtime/text", "runtime/jinja", "runtime/grammar", "runtime/report", "runtime/exec",
      "proto"}},
    {"runtime/cli",
     {"runtime/base", "runtime/model", "runtime/text", "runtime/jinja", "runtime/numa", "runtime/comm",
      "runtime/report", "runtime/shard", "runtime/exec", "runtime/grammar", "runtime/serve", "proto",
      "kernels"}},
    {"runtime/api", {"runtime/base", "runtime/text", "runtime/exec", "runtime/report", "runtime/cli"}},
};

// Header -> where it may be included.
const std::map<std::string, std::regex> kFences = {
    {"mpi.h", std::regex("runtime/comm/.*\\.cc|tests/mpi/.*")},
    {"numa.h", std::regex("runtime/numa/.*")},
    {"numaif.h", std::regex("runtime/numa/.*")},
    {"dnnl.hpp", std::regex("kernels/onednn/.*")},
    {"immintrin.h", std::regex("kernels/(avx2|avx512|amx)/.*")},
    {"pcre2.h", std::regex("runtime/text/.*")},
    {"pybind11/embed.h", std::regex("runtime/jinja/worker\\.cc")},
    {"Python.h", std::regex("")},
    {"histedit.h", std::regex("runtime/cli/line_reader\\.cc")},
    {"boost/asio.hpp", std::regex("runtime/serve/http_exchange\\.h")},
    {"boost/beast/http.hpp", std::regex("runtime/serve/http_exchange\\.h")},
    {"prometheus/registry.h", std::regex("runtime/serve/metrics\\.cc")},
    {"CLI/CLI.hpp", std::regex("runtime/cli/.*")},
};

std::string ModuleOf(const std::string& path) {
  for (const char* top : {"kernels/", "proto/"})
    if (path.rfind(top, 0) == 0) return std::string(top, std::string(top).size() - 1);
  if (path.rfind("runtime/", 0) == 0) return path.substr(0, path.find('/', 8));
  return "";
}

struct Include {
  std::string file, header;
};

std::vector<Include> AllIncludes() {
  static const std::regex kInclude("^\\s*#\\s*include\\s+[<\"]([^>\"]+)[>\"]");
  std::vector<Include> includes;
  const fs::path root = ONECOPY_SOURCE_DIR;
  for (const char* top : {"kernels", "runtime"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const auto extension = entry.path().extension();
      if (extension != ".cc" && extension != ".h") continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        std::smatch match;
        if (std::regex_search(line, match, kInclude))
          includes.push_back({fs::relative(entry.path(), root).string(), match[1]});
      }
    }
  }
  return includes;
}

TEST(Tree, ModulesIncludeOnlyWhatTheyMay) {
  const auto includes = AllIncludes();
  EXPECT_GT(includes.size(), 300u);
  for (const Include& include : includes) {
    const std::string from = ModuleOf(include.file), to = ModuleOf(include.header);
    if (to.empty() || to == from) continue;
    const auto allowed = kAllowed.find(from);
    ASSERT_NE(allowed, kAllowed.end()) << from << " is a new module: say what it may include";
    EXPECT_TRUE(allowed->second.count(to)) << include.file << " includes " << include.header;
  }
}

TEST(Tree, LibrariesStayBehindTheirFence) {
  for (const Include& include : AllIncludes()) {
    const auto fence = kFences.find(include.header);
    if (fence == kFences.end()) continue;
    EXPECT_TRUE(std::regex_match(include.file, fence->second))
        << include.file << " includes " << include.header;
  }
}

TEST(Tree, OnlyMainEndsTheProcess) {
  static const std::regex kExit("\\b(std::)?(_exit|exit|abort|quick_exit|MPI_Abort)\\s*\\(");
  const fs::path root = ONECOPY_SOURCE_DIR;
  for (const char* top : {"kernels", "runtime"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      if (entry.path().extension() != ".cc") continue;
      const std::string path = fs::relative(entry.path(), root).string();
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        const size_t comment = line.find("//");
        const std::string code = line.substr(0, comment);
        if (!std::regex_search(code, kExit) || code.find("app.exit(") != std::string::npos) continue;
        // AbortMpi's body, which main calls.
        EXPECT_TRUE(path.rfind("runtime/comm/", 0) == 0 || path == "runtime/cli/main.cc")
            << path << ": " << line;
      }
    }
  }
}

}  // namespace
}  // namespace onecopy
