// Sixteen files of a target are compiled as one, in groups that move with every new file. Where two files of a target have
// functions of one name out of others' sight, a new grouping makes overloads of them, and a call silently takes the one
// of the other file where that fits better. So such names are unique in a target, whatever the groups are today.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace onecopy {
namespace {

namespace fs = std::filesystem;

using Lines = std::vector<std::string>;

bool StartsWithWord(std::string_view line, std::string_view word) {
  return line.starts_with(word) && line.size() > word.size() && line[word.size()] == ' ';
}

bool IsIdentifier(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

// Of a declaration's first line: the identifier before its parameters, initializer or body. Empty for members that are
// defined outside of their class, operators, and macros (TEST).
std::string DeclaredName(std::string_view line) {
  size_t depth = 0, end = 0;
  for (; end < line.size(); ++end) {  // std::function<void(int)> is a type still
    if (line[end] == '<') ++depth;
    if (line[end] == '>' && depth > 0) --depth;
    if (depth == 0 && std::string_view("(=[{;").find(line[end]) != std::string_view::npos) break;
  }
  if (end == line.size()) return "";
  while (end > 0 && line[end - 1] == ' ') --end;
  size_t begin = end;
  while (begin > 0 && IsIdentifier(line[begin - 1])) --begin;
  const std::string name(line.substr(begin, end - begin));
  const bool member = begin > 0 && line[begin - 1] == ':';
  const bool macro = std::none_of(name.begin(), name.end(), [](char c) { return std::islower(c); });
  return member || macro || name == "operator" ? "" : name;
}

std::string TypeName(std::string_view line) {
  for (const std::string_view word : {"enum class", "enum", "struct", "class", "union"}) {
    if (!StartsWithWord(line, word)) continue;
    line.remove_prefix(word.size() + 1);
    const auto end = std::find_if_not(line.begin(), line.end(), IsIdentifier);
    return std::string(line.begin(), end);
  }
  return "";
}

// The functions, types and constants that a file has for itself: in an anonymous namespace, or static. Aliases are left
// out, since two of one name are the same type or an error. As clang-format has the tree: what a namespace holds is not
// indented, and all else is.
std::set<std::string> OwnNames(const Lines& lines) {
  std::set<std::string> names;
  bool anonymous = false;
  for (const std::string& line : lines) {
    if (line == "namespace {") anonymous = true;
    if (line == "}  // namespace") anonymous = false;
    if (line.empty() || (!anonymous && !StartsWithWord(line, "static"))) continue;
    if (!std::isalpha(static_cast<unsigned char>(line[0])) && line[0] != '[') continue;
    const std::string_view word = std::string_view(line).substr(0, line.find_first_of(" <("));
    if (word == "namespace" || word == "using" || word == "template" || word == "static_assert") continue;
    const std::string_view after =
        line[0] == '[' ? std::string_view(line).substr(std::min(line.size(), line.find("]]") + 3)) : line;
    const std::string type = TypeName(after);
    const std::string name = type.empty() ? DeclaredName(after) : type;
    if (!name.empty()) names.insert(name);
  }
  return names;
}

// "Name: a.cc b.cc" for every name that several files have.
std::vector<std::string> Shared(const std::map<std::string, Lines>& files) {
  std::map<std::string, std::string> owners;
  for (const auto& [file, lines] : files)
    for (const std::string& name : OwnNames(lines)) owners[name] += " " + file;
  std::vector<std::string> shared;
  for (const auto& [name, files_of_it] : owners)
    if (std::count(files_of_it.begin(), files_of_it.end(), ' ') > 1)
      shared.push_back(name + ":" + files_of_it);
  return shared;
}

std::string ReadText(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Sources of the targets that a folder's CMakeLists.txt compiles in groups, also those of sub-folders that it names, without
// those that it compiles alone. A folder with two targets counts as one.
std::map<std::string, Lines> GroupedSources(const fs::path& folder) {
  static const std::regex kGrouped("onecopy_(library|unity|test)\\(");
  static const std::regex kAlone(
      "set_source_files_properties\\(([^)]*)PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON");
  const std::string cmake = ReadText(folder / "CMakeLists.txt");
  if (!std::regex_search(cmake, kGrouped)) return {};
  std::smatch match;
  const std::string alone = std::regex_search(cmake, match, kAlone) ? " " + match[1].str() : "";
  std::vector<fs::path> folders = {folder};
  static const std::regex kSubfolder("CMAKE_CURRENT_SOURCE_DIR\\}/([a-z_]+)/\\*\\.cc");
  for (std::sregex_iterator it(cmake.begin(), cmake.end(), kSubfolder), end; it != end; ++it)
    folders.push_back(folder / (*it)[1].str());
  std::map<std::string, Lines> files;
  for (const fs::path& one : folders) {
    for (const auto& entry : fs::directory_iterator(one)) {
      const std::string name = entry.path().filename().string();
      if (entry.path().extension() != ".cc" || alone.find(" " + name + " ") != std::string::npos) continue;
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) files[name].push_back(line);
    }
  }
  return files;
}

TEST(UnityNames, AreUniqueInEveryTarget) {
  const fs::path root = ONECOPY_SOURCE_DIR;
  size_t n_files = 0;
  for (const char* top : {"runtime", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      if (entry.path().filename() != "CMakeLists.txt") continue;
      const fs::path folder = entry.path().parent_path();
      const auto files = GroupedSources(folder);
      n_files += files.size();
      EXPECT_THAT(Shared(files), ::testing::IsEmpty()) << "in " << fs::relative(folder, root).string()
                                                       << ": give them names of their own, or one definition";
    }
  }
  EXPECT_GT(n_files, 300u);
}

TEST(UnityNames, OfTwoFilesAreFound) {
  const Lines first = {"namespace onecopy {",
                       "namespace {",
                       "",
                       "struct Row {",
                       "  int value;",
                       "};",
                       "constexpr Row kRows[] = {{1}};",
                       "std::function<void(int)> Printer(int width) {",
                       "}",
                       "template <typename T>",
                       "double Mean(const T& values) {",
                       "}",
                       "[[noreturn]] void Refuse(int value) {",
                       "}",
                       "}  // namespace",
                       "static int Twice(int value) {",
                       "}",
                       "}  // namespace onecopy"};
  EXPECT_THAT(OwnNames(first), ::testing::ElementsAre("Mean", "Printer", "Refuse", "Row", "Twice", "kRows"));
  for (const char* planted :
       {"struct Row;", "enum class Row { kA };", "const float kRows = 1;", "int Printer = 0;",
        "float Mean(float a, float b) { return a; }", "int Twice(float value);"}) {
    EXPECT_EQ(Shared({{"a.cc", first}, {"b.cc", {"namespace {", planted, "}  // namespace"}}}).size(), 1u)
        << planted;
  }
  EXPECT_THAT(Shared({{"a.cc", first}, {"b.cc", {"static void Row(int width) {"}}}),
              ::testing::ElementsAre("Row: a.cc b.cc"));
}

TEST(UnityNames, LeaveOutWhatOthersSeeAndWhatIsInATypeOrBody) {
  const Lines lines = {"int Public(int x) {",
                       "  static int Local = 0;",
                       "}",
                       "namespace {",
                       "using Clock = std::chrono::steady_clock;",
                       "void Type::Method() {",
                       "  Call(1);",
                       "}",
                       "bool operator==(const Type& a, const Type& b) {",
                       "// Comment(1)",
                       "#define MACRO(x) x",
                       "TEST(Suite, Case) {",
                       "static_assert(sizeof(int) == 4);",
                       "}  // namespace",
                       "int AlsoPublic(int x) {"};
  EXPECT_THAT(OwnNames(lines), ::testing::IsEmpty());
}

}  // namespace
}  // namespace onecopy
