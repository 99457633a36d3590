#include "runtime/text/stop_strings.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/text/utf8.h"

namespace onecopy::text {
namespace {

// Bytes at the end of `text` that are the beginning, but not the whole, of `stop`.
size_t PartialMatch(std::string_view text, std::string_view stop) {
  for (size_t bytes = std::min(text.size(), stop.size() - 1); bytes > 0; --bytes) {
    if (text.ends_with(stop.substr(0, bytes))) return bytes;
  }
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    // As a stop string is valid UTF-8, it can begin only where a character does, and nothing held back is
    // half one.
    if (stop.empty()) Fail(ErrorCode::kUsage, "a stop string is empty, expected at least one character");
    if (ReplaceInvalidUtf8(stop) != stop) Fail(ErrorCode::kUsage, "a stop string is not valid UTF-8");
  }
}

std::string StopMatcher::Push(std::string_view text) {
  if (stopped()) return {};
  held_ += text;
  size_t end = std::string::npos, begin = 0;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const bool better = at + stop.size() < end || (at + stop.size() == end && at < begin);
    if (!better) continue;
    begin = at;
    end = at + stop.size();
    matched_ = stop;
  }
  size_t keep = 0;
  if (!stopped()) {
    for (const std::string& stop : stops_) keep = std::max(keep, PartialMatch(held_, stop));
    begin = held_.size() - keep;
  }
  std::string out = held_.substr(0, begin);
  stopped() ? held_.clear() : static_cast<void>(held_.erase(0, begin));
  return out;
}

std::string StopMatcher::Flush() {
  return std::exchange(held_, {});
}

}  // namespace onecopy::text
