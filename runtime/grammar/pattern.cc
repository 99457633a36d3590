#include "runtime/grammar/pattern.h"

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/utf8.h"

namespace onecopy::grammar {
namespace {

CodePoints AsciiWord() {
  return CodePoints::Of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
}

CodePoints NonAscii() {
  return {0x80, 0x10FFFF};
}

// Every character that some dialect calls a space.
CodePoints AnySpace() {
  CodePoints points = CodePoints::Of(" \t\n\r\f\v");
  points.Add(0x1C, 0x1F);
  points.Add(0x85, 0x85);
  points.Add(0xA0, 0xA0);
  points.Add(0x1680, 0x1680);
  points.Add(0x180E, 0x180E);
  points.Add(0x2000, 0x200A);
  points.Add(0x2028, 0x2029);
  points.Add(0x202F, 0x202F);
  points.Add(0x205F, 0x205F);
  points.Add(0x3000, 0x3000);
  points.Add(0xFEFF, 0xFEFF);
  return points;
}

// What the dialects agree on that is in a set, and what some of them have in it.
struct Set {
  CodePoints least, most;
  void Add(const Set& other) {
    least.Add(other.least);
    most.Add(other.most);
  }
  Set Complement() const { return {most.Complement(), least.Complement()}; }
};

Set With(const CodePoints& ascii, const CodePoints& others) {
  Set set{ascii, ascii};
  set.most.Add(others);
  return set;
}

class PatternParser {
 public:
  explicit PatternParser(std::string_view pattern) : text_(pattern) {}

  Expr Parse() {
    if (text_.size() > kMaxPatternBytes)
      Fail(ErrorCode::kUsage, "the pattern has {} bytes, expected at most {}", text_.size(),
           kMaxPatternBytes);
    if (!IsUtf8(text_)) Fail(ErrorCode::kUsage, "the pattern is not valid UTF-8");
    Expr all = ParseChoice(0);
    if (at_ < text_.size()) Refuse("')' without '('");
    return all;
  }

 private:
  [[noreturn]] void Refuse(std::string_view what) const {
    Fail(ErrorCode::kUsage, "the pattern '{}' has {} at its byte {}, which is not supported",
         Printable(text_), what, at_);
  }
  char Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool Next(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // Depth 0: the alternatives of the whole pattern, each of which may be anchored.
  Expr ParseChoice(uint32_t depth) {
    std::vector<Expr> ways;
    const Expr anything = Repeat(Class(CodePoints::All()), 0, kUnbounded);
    do {
      std::vector<Expr> parts;
      if (depth == 0 && !Next('^')) parts.push_back(anything);
      bool anchored = false;
      while (at_ < text_.size() && Peek() != '|' && Peek() != ')') {
        if (depth == 0 && Peek() == '$' && (at_ + 1 == text_.size() || Peek(1) == '|')) {
          ++at_;
          anchored = true;
          break;
        }
        Expr item = ParseItem(depth);
        ParseQuantifier(&item);
        parts.push_back(std::move(item));
      }
      if (depth == 0 && !anchored) parts.push_back(anything);
      ways.push_back(Sequence(std::move(parts)));
    } while (Next('|'));
    return Choice(std::move(ways));
  }

  Expr ParseItem(uint32_t depth) {
    const char c = Peek();
    if (c == '(') return ParseGroup(depth);
    if (c == '[') return ParseClass();
    if (c == '^' || c == '$') Refuse("an anchor that is not at the beginning or end of an alternative");
    if (c == '*' || c == '+' || c == '?') Refuse("a quantifier of nothing");
    if (Next('.')) {
      CodePoints line_ends = CodePoints::Of("\n\r");
      line_ends.Add(0x2028, 0x2029);
      line_ends.Add(0x85, 0x85);
      return Class(line_ends.Complement());
    }
    if (c == '\\') {
      bool one = false;
      return Class(ParseEscape(false, &one).least);
    }
    const uint32_t code = ParseRaw();
    return Class(CodePoints(code, code));
  }

  uint32_t ParseRaw() {
    const text::Utf8Char c = text::DecodeUtf8(text_.substr(at_));
    at_ += c.bytes;
    return c.code;
  }

  Expr ParseGroup(uint32_t depth) {
    if (depth == kMaxPatternDepth) Refuse("groups inside groups too deep");
    ++at_;
    if (Peek() == '?') {
      if (Peek(1) == ':') {
        at_ += 2;
      } else if (Peek(1) == '<' && Peek(2) != '=' && Peek(2) != '!') {
        while (at_ < text_.size() && Peek() != '>') ++at_;
        Next('>');
      } else {
        Refuse("a group that looks around or sets flags");
      }
    }
    Expr group = ParseChoice(depth + 1);
    if (!Next(')')) Refuse("'(' without ')'");
    return group;
  }

  // one: it is a single character.
  Set ParseEscape(bool in_class, bool* one) {
    const size_t begin = at_++;
    const char kind = Peek();
    ++at_;
    *one = false;
    const CodePoints digits('0', '9');
    switch (kind) {
      case 'd':
        return With(digits, NonAscii());
      case 'D':
        return With(digits, NonAscii()).Complement();
      case 'w':
        return With(AsciiWord(), NonAscii());
      case 'W':
        return With(AsciiWord(), NonAscii()).Complement();
      case 's':
        return With(CodePoints::Of(" \t\n\r\f\v"), AnySpace());
      case 'S':
        return With(CodePoints::Of(" \t\n\r\f\v"), AnySpace()).Complement();
      default:
        break;
    }
    *one = true;
    uint32_t code = 0;
    switch (kind) {
      case 'n':
        code = '\n';
        break;
      case 'r':
        code = '\r';
        break;
      case 't':
        code = '\t';
        break;
      case 'f':
        code = '\f';
        break;
      case 'v':
        code = '\v';
        break;
      case 'x':
        code = ParseHexCode(2, begin);
        break;
      case 'u':
        code = ParseHexCode(4, begin);
        break;
      default: {
        constexpr std::string_view kLiteral = "\\/^$.|?*+()[]{}-\"'#&,:;<=>@_`~!% ";
        // \b in a class is a backspace to some and an error to others.
        if (kind == '\0' || kLiteral.find(kind) == std::string_view::npos) {
          at_ = begin;
          Refuse(in_class ? "an escape in a class" : "an escape");
        }
        code = static_cast<uint8_t>(kind);
      }
    }
    return {CodePoints(code, code), CodePoints(code, code)};
  }

  uint32_t ParseHexCode(int digits, size_t begin) {
    uint32_t code = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const char c = Peek();
      const bool digit = c >= '0' && c <= '9', lower = c >= 'a' && c <= 'f', upper = c >= 'A' && c <= 'F';
      if (!digit && !lower && !upper) {
        at_ = begin;
        Refuse("an escape without its digits");
      }
      code = code * 16 + (digit ? c - '0' : lower ? c - 'a' + 10 : c - 'A' + 10);
    }
    if (code < 0xD800 || code > 0xDFFF) return code;
    at_ = begin;
    Refuse("half of a pair of surrogates");
  }

  Expr ParseClass() {
    ++at_;
    const bool negated = Next('^');
    if (Peek() == ']') Refuse("a class that begins with ']'");
    Set set;
    while (Peek() != ']') {
      if (at_ >= text_.size()) Refuse("'[' without ']'");
      if (Peek() == '[' && (Peek(1) == ':' || Peek(1) == '.' || Peek(1) == '=')) Refuse("a class by name");
      bool one = true;
      Set item = ParseClassCharacter(&one);
      if (Peek() == '-' && Peek(1) != ']' && Peek(1) != '\0') {
        if (!one) Refuse("a range from a class");
        ++at_;
        const Set last = ParseClassCharacter(&one);
        const uint32_t lo = item.least.ranges()[0].lo;
        if (!one || last.least.ranges()[0].lo < lo) Refuse("a range that ends before it begins");
        item.least = item.most = CodePoints(lo, last.least.ranges()[0].lo);
      }
      set.Add(item);
    }
    ++at_;
    return Class((negated ? set.Complement() : set).least);
  }

  Set ParseClassCharacter(bool* one) {
    if (Peek() == '\\') return ParseEscape(true, one);
    const uint32_t code = ParseRaw();
    *one = true;
    return {CodePoints(code, code), CodePoints(code, code)};
  }

  void ParseQuantifier(Expr* item) {
    uint32_t min = 0, max = kUnbounded;
    if (Next('+')) {
      min = 1;
    } else if (Next('?')) {
      max = 1;
    } else if (Peek() == '{') {
      const size_t begin = at_++;
      const bool has_min = ParseCount(&min);
      max = min;
      if (Next(',') && !ParseCount(&max)) max = kUnbounded;
      if (!has_min || !Next('}')) {
        at_ = begin;  // a brace of the text; Python reads {,3} otherwise
        if (Peek(1) == ',') Refuse("a quantifier without its least number");
        return;
      }
      if (max < min) Refuse("a quantifier whose greatest number is below its least");
    } else if (!Next('*')) {
      return;
    }
    Next('?');  // what is matched first makes no difference to what can be matched
    if (Peek() == '*' || Peek() == '+' || Peek() == '?') Refuse("a quantifier of a quantifier");
    *item = Repeat(std::move(*item), min, max);
  }

  bool ParseCount(uint32_t* count) {
    const size_t begin = at_;
    uint32_t value = 0;
    for (; Peek() >= '0' && Peek() <= '9'; ++at_) {
      value = value * 10 + (Peek() - '0');
      if (value > kMaxPatternCount) Refuse(fmt::format("a quantifier above {}", kMaxPatternCount));
    }
    if (at_ == begin) return false;
    *count = value;
    return true;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Expr ParsePattern(std::string_view pattern) {
  return PatternParser(pattern).Parse();
}

}  // namespace onecopy::grammar
