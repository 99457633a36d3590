// ArgumentsStream: the arguments of a call from the JSON they are written in, as it arrives. One per call; not thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "runtime/text/json_scanner.h"

namespace onecopy::text {

class ArgumentsStream {
 public:
  using State = JsonScanner::State;

  // object: the text of the JSON so far, up to and with the '{' of the arguments, which may be inside of another object.
  explicit ArgumentsStream(std::string_view object) {
    for (const char c : object) scanner_.Push(c);
    depth_ = scanner_.depth();
  }
  // Appends what is part of the arguments to *arguments; line breaks inside of strings, which models write, as JSON wants
  // them. kDone: the outermost object has ended.
  State Push(char c, std::string* arguments) {
    const bool inside = scanner_.depth() >= depth_ && !ended_;
    const bool control = scanner_.in_string() && static_cast<unsigned char>(c) < 0x20;
    const State state = scanner_.Push(c);
    if (state == State::kBad || !inside) return state;
    if (control) {
      constexpr std::string_view kHexDigits = "0123456789abcdef";
      *arguments += "\\u00";
      *arguments += kHexDigits[static_cast<unsigned char>(c) >> 4];
      *arguments += kHexDigits[c & 15];
    } else {
      *arguments += c;
    }
    ended_ = scanner_.depth() < depth_;
    return state;
  }
  bool in_string() const { return scanner_.in_string(); }
  bool ended() const { return ended_; }  // the arguments are whole, though what is around them may not be

 private:
  JsonScanner scanner_;
  size_t depth_ = 0;
  bool ended_ = false;
};

}  // namespace onecopy::text
