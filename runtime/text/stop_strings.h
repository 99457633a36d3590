// StopMatcher: ends a stream of text at the first of some strings, and holds back what may become one.
// One per stream; not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onecopy::text {

// Of all occurrences the one that ends first counts, and of those that end together the longest: so the
// outcome does not depend on how the text was cut into pieces.
class StopMatcher {
 public:
  // Errors: kUsage when a stop string is empty or not UTF-8.
  explicit StopMatcher(std::vector<std::string> stops);

  // text: whole characters of valid UTF-8. Returns what can be shown now, whole characters too; nothing after
  // the stop.
  std::string Push(std::string_view text);
  // The end of the stream: what was held back. Empty after a stop.
  std::string Flush();

  bool stopped() const { return !matched_.empty(); }
  const std::string& matched() const { return matched_; }  // the stop string that was found; empty before

 private:
  std::vector<std::string> stops_;
  std::string held_;  // shorter than the longest stop string between calls
  std::string matched_;
};

}  // namespace onecopy::text
