#include "runtime/text/answer/python_values.h"

#include "runtime/text/json_scanner.h"
#include "runtime/text/utf8.h"

namespace onecopy::text {
namespace {

bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-';
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    *out += static_cast<char>(code);
  } else if (code < 0x800) {
    *out += static_cast<char>(0xC0 | code >> 6);
    *out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *out += static_cast<char>(0xE0 | code >> 12);
    *out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    *out += static_cast<char>(0xF0 | code >> 18);
    *out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    *out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    *out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

// Recursive descent; every function returns none, and leaves the rest unread, where the text is something else.
class PythonReader {
 public:
  explicit PythonReader(std::string_view text) : text_(text) {}

  std::optional<nlohmann::ordered_json> Value(size_t depth = 0) {
    Space();
    if (text_.empty() || depth > kMaxJsonDepth) return std::nullopt;
    const char c = text_.front();
    if (c == '"' || c == '\'') {
      std::optional<std::string> string = String();
      if (!string) return std::nullopt;
      return nlohmann::ordered_json(*std::move(string));
    }
    if (c == '[') return Sequence(']', depth);
    if (c == '(') return Sequence(')', depth);
    if (c == '{') return Dict(depth);
    return Word();
  }

  std::optional<std::vector<PythonCall>> Calls() {
    std::vector<PythonCall> calls;
    if (!Take('[')) return std::nullopt;
    do {
      Space();
      PythonCall call{Name(), nlohmann::ordered_json::object()};
      if (call.name.empty() || !Take('(')) return std::nullopt;
      while (!Take(')')) {
        const std::string key = (Space(), Name());
        if (key.empty() || !Take('=')) return std::nullopt;
        std::optional<nlohmann::ordered_json> value = Value();
        if (!value || ++num_keys_ > kMaxJsonKeys) return std::nullopt;
        call.arguments[key] = *std::move(value);
        if (!Take(',') && !Peek(')')) return std::nullopt;
      }
      calls.push_back(std::move(call));
    } while (Take(',') && !Peek(']'));
    if (!Take(']') || !AtEnd()) return std::nullopt;
    return calls;
  }

  bool AtEnd() {
    Space();
    return text_.empty();
  }

 private:
  void Space() {
    while (!text_.empty() && std::string_view(" \n\t\r").find(text_.front()) != std::string_view::npos)
      text_.remove_prefix(1);
  }
  bool Peek(char c) {
    Space();
    return !text_.empty() && text_.front() == c;
  }
  bool Take(char c) {
    if (!Peek(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::string Name() {
    size_t n = 0;
    while (n < text_.size() && IsNameByte(text_[n])) ++n;
    std::string name(text_.substr(0, n));
    text_.remove_prefix(n);
    return name;
  }

  std::optional<nlohmann::ordered_json> Word() {
    size_t n = 0;
    while (n < text_.size() && (IsNameByte(text_[n]) || text_[n] == '+')) ++n;
    const std::string_view word = text_.substr(0, n);
    text_.remove_prefix(n);
    if (word == "True") return nlohmann::ordered_json(true);
    if (word == "False") return nlohmann::ordered_json(false);
    if (word == "None") return nlohmann::ordered_json(nullptr);
    return ParseJson(word);  // numbers, and true, false, null, which models write too
  }

  std::optional<nlohmann::ordered_json> Sequence(char end, size_t depth) {
    text_.remove_prefix(1);
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    while (!Take(end)) {
      std::optional<nlohmann::ordered_json> value = Value(depth + 1);
      if (!value) return std::nullopt;
      list.push_back(*std::move(value));
      if (!Take(',') && !Peek(end)) return std::nullopt;
    }
    return list;
  }

  std::optional<nlohmann::ordered_json> Dict(size_t depth) {
    text_.remove_prefix(1);
    nlohmann::ordered_json dict = nlohmann::ordered_json::object();
    while (!Take('}')) {
      if (!Peek('"') && !Peek('\'')) return std::nullopt;
      const std::optional<std::string> key = String();
      if (!key || !Take(':')) return std::nullopt;
      std::optional<nlohmann::ordered_json> value = Value(depth + 1);
      if (!value || ++num_keys_ > kMaxJsonKeys) return std::nullopt;
      dict[*key] = *std::move(value);
      if (!Take(',') && !Peek('}')) return std::nullopt;
    }
    return dict;
  }

  std::optional<std::string> String() {
    const char quote = text_.front();
    text_.remove_prefix(1);
    std::string out;
    while (!text_.empty()) {
      const char c = text_.front();
      text_.remove_prefix(1);
      if (c == quote) return ReplaceInvalidUtf8(out);
      if (c != '\\') {
        out += c;
      } else if (!Escape(&out)) {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  bool Escape(std::string* out) {
    if (text_.empty()) return false;
    const char c = text_.front();
    text_.remove_prefix(1);
    const size_t known = std::string_view("ntr0\\'\"").find(c);
    if (known != std::string_view::npos) {
      *out += "\n\t\r\0\\'\""[known];
      return true;
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) {  // as in Python, the backslash of an unknown escape stands for itself
      *out += '\\';
      *out += c;
      return true;
    }
    if (text_.size() < digits) return false;
    uint32_t code = 0;
    for (const char digit : text_.substr(0, digits)) {
      const size_t value = std::string_view("0123456789abcdefABCDEF").find(digit);
      if (value == std::string_view::npos) return false;
      code = code << 4 | static_cast<uint32_t>(value < 16 ? value : value - 6);
    }
    text_.remove_prefix(digits);
    if (code > 0x10FFFF) return false;
    AppendUtf8(code, out);
    return true;
  }

  std::string_view text_;
  size_t num_keys_ = 0;
};

}  // namespace

std::optional<nlohmann::ordered_json> ParsePythonLiteral(std::string_view text) {
  PythonReader reader(text);
  std::optional<nlohmann::ordered_json> value = reader.Value();
  if (!value || !reader.AtEnd()) return std::nullopt;
  return value;
}

std::optional<std::vector<PythonCall>> ParsePythonCalls(std::string_view text) {
  return PythonReader(text).Calls();
}

bool PythonBrackets::Push(char c) {
  if (escaped_) {
    escaped_ = false;
  } else if (quote_ != 0) {
    if (c == '\\') escaped_ = true;
    if (c == quote_) quote_ = 0;
  } else if (c == '"' || c == '\'') {
    quote_ = c;
  } else if (c == '[' || c == '(' || c == '{') {
    ++depth_;
  } else if ((c == ']' || c == ')' || c == '}') && depth_ > 0) {
    return --depth_ == 0;
  }
  return false;
}

}  // namespace onecopy::text
