// MarkScanner: finds marks in a text that arrives byte by byte, and holds back only what may yet become one. One per text; not
// thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace onecopy::text {

class MarkScanner {
 public:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  // Appends to *passed what is certainly no mark. Returns which of `marks`, none of them empty, is complete with this byte;
  // kNone: none is. The marks may differ from call to call.
  size_t Push(char c, std::span<const std::string_view> marks, std::string* passed) {
    held_ += c;
    while (!held_.empty()) {
      bool maybe = false;
      for (size_t i = 0; i < marks.size(); ++i) {
        if (!marks[i].starts_with(held_)) continue;
        maybe = true;
        if (marks[i].size() != held_.size()) continue;
        held_.clear();
        return i;
      }
      if (maybe) break;
      *passed += held_[0];
      held_.erase(0, 1);
    }
    return kNone;
  }
  // What is held back, which no longer is.
  std::string Flush() {
    std::string rest;
    rest.swap(held_);
    return rest;
  }

 private:
  std::string held_;
};

}  // namespace onecopy::text
