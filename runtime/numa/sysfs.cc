// Readers of kernel text files. Every one of them treats an absent file as an ordinary answer: containers
// hide parts of /sys, and kernels are built without them.
#include "runtime/numa/sysfs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "runtime/base/error.h"

namespace onecopy::numa {
namespace {

// The largest machines Linux can be built for have 8192 CPUs and 1024 nodes; a longer range is a broken file.
constexpr int kMaxId = 65535;

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string> ReadText(const std::string& root, std::string_view path) {
  std::ifstream file(fmt::format("{}/{}", root, path));
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad()) return std::nullopt;
  std::string out = text.str();
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

std::optional<uint64_t> ReadNumber(const std::string& root, std::string_view path) {
  const auto text = ReadText(root, path);
  return text ? ParseNumber(Trim(*text)) : std::nullopt;
}

std::vector<int> ParseIdList(std::string_view text, std::string_view source) {
  std::vector<int> ids;
  text = Trim(text);
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t dash = item.find('-');
    const auto first = ParseNumber(item.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : ParseNumber(item.substr(dash + 1));
    if (!first || !last || *last < *first || *last > kMaxId) {
      Fail(ErrorCode::kInternal, "{}: expected a list such as 0-3,8, found \"{}\"", source, item);
    }
    for (uint64_t id = *first; id <= *last; ++id) ids.push_back(static_cast<int>(id));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

std::string FormatIdList(const std::vector<int>& ids) {
  std::string out;
  for (size_t begin = 0; begin < ids.size();) {
    size_t end = begin;
    while (end + 1 < ids.size() && ids[end + 1] == ids[end] + 1) ++end;
    if (!out.empty()) out += ',';
    out += end == begin ? fmt::format("{}", ids[begin]) : fmt::format("{}-{}", ids[begin], ids[end]);
    begin = end + 1;
  }
  return out;
}

std::optional<uint64_t> MeminfoBytes(std::string_view meminfo, std::string_view key) {
  const std::string wanted = fmt::format("{}:", key);
  for (size_t at = meminfo.find(wanted); at != std::string_view::npos; at = meminfo.find(wanted, at + 1)) {
    // "Active:" must not be found in "Inactive:".
    if (at != 0 && meminfo[at - 1] != ' ' && meminfo[at - 1] != '\n') continue;
    std::string_view value = meminfo.substr(at + wanted.size());
    value = Trim(value.substr(0, value.find('\n')));
    const auto kilobytes = ParseNumber(value.substr(0, value.find(' ')));
    if (kilobytes) return *kilobytes * 1024;
  }
  return std::nullopt;
}

std::optional<std::string> StatusValue(std::string_view status, std::string_view key) {
  const std::string wanted = fmt::format("{}:", key);
  for (size_t at = status.find(wanted); at != std::string_view::npos; at = status.find(wanted, at + 1)) {
    if (at != 0 && status[at - 1] != '\n') continue;
    const std::string_view value = status.substr(at + wanted.size());
    return std::string(Trim(value.substr(0, value.find('\n'))));
  }
  return std::nullopt;
}

}  // namespace onecopy::numa
