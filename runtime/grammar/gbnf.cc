#include "runtime/grammar/gbnf.h"

#include <algorithm>
#include <unordered_map>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/utf8.h"

namespace onecopy::grammar {
namespace {

constexpr uint32_t kMaxRepeatsOfOne = 4;  // a*?+{2}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class GbnfParser {
 public:
  GbnfParser(std::string_view text, Rules* rules) : text_(text), rules_(*rules) {}

  uint32_t Parse() {
    if (text_.size() > kMaxGbnfBytes)
      Fail(ErrorCode::kUsage, "the grammar has {} bytes, expected at most {}", text_.size(), kMaxGbnfBytes);
    if (!IsUtf8(text_)) Fail(ErrorCode::kUsage, "the grammar is not valid UTF-8");
    for (SkipSpace(true); at_ < text_.size(); SkipSpace(true)) ParseRule();
    for (const auto& [rule, place] : uses_) {
      if (rules_[rule].body != nullptr) continue;
      at_ = place;
      Expected("rule '" + Printable(rules_[rule].name) + "' to be defined somewhere");
    }
    const auto root = by_name_.find("root");
    if (root == by_name_.end())
      Fail(ErrorCode::kUsage,
           "the grammar has no rule 'root', expected 'root ::= …' to say what a whole text is");
    return root->second;
  }

 private:
  [[noreturn]] void Expected(const std::string& what) const {
    const std::string_view before = text_.substr(0, at_);
    const size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
    const std::string_view rest = text_.substr(at_, text_.find('\n', at_) - at_);
    Fail(ErrorCode::kUsage, "the grammar, line {}, column {}: expected {}, found {}",
         std::count(before.begin(), before.end(), '\n') + 1, at_ - line_begin + 1, what,
         rest.empty() ? "the end of the line" : "'" + Printable(rest, 20) + "'");
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool Next(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }

  void SkipSpace(bool lines) {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#')
        at_ = std::min(text_.find('\n', at_), text_.size());
      else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')))
        ++at_;
      else
        return;
    }
  }

  uint32_t RuleByName(const std::string& name) {
    const auto [at, is_new] = by_name_.try_emplace(name, static_cast<uint32_t>(rules_.size()));
    if (is_new) {
      if (by_name_.size() > kMaxGbnfRules) Expected(fmt::format("at most {} rules", kMaxGbnfRules));
      rules_.push_back({name, nullptr});
    }
    return at->second;
  }

  std::string ParseName() {
    const size_t begin = at_;
    while (IsNameCharacter(Peek())) ++at_;
    if (at_ == begin) Expected("the name of a rule");
    return std::string(text_.substr(begin, at_ - begin));
  }

  void ParseRule() {
    const size_t begin = at_;
    const uint32_t rule = RuleByName(ParseName());
    SkipSpace(false);
    if (!Next("::=")) Expected("'::='");
    SkipSpace(true);
    if (rules_[rule].body != nullptr) {
      at_ = begin;
      Expected("each rule once");
    }
    rules_[rule].body = ParseChoice(0);
    if (at_ < text_.size() && Peek() != '\n' && Peek() != '\r') Expected("'|' or the end of the rule");
  }

  Expr ParseChoice(uint32_t depth) {
    std::vector<Expr> parts;
    do {
      SkipSpace(true);
      parts.push_back(ParseSequence(depth));
      // An alternative may stand on a line of its own.
      const size_t end = at_;
      SkipSpace(true);
      if (Peek() != '|' && depth == 0) at_ = end;
    } while (Next("|"));
    return Choice(std::move(parts));
  }

  // Empty where nothing stands before '|', ')' or the end.
  Expr ParseSequence(uint32_t depth) {
    std::vector<Expr> parts;
    for (SkipSpace(depth > 0); at_ < text_.size(); SkipSpace(depth > 0)) {
      const char c = Peek();
      if (c == '|' || c == ')' || c == '\n' || c == '\r') break;
      parts.push_back(ParseItem(depth));
      // Each is a level of the expression.
      for (uint32_t i = 0; SkipSpace(depth > 0), ParseRepetition(&parts.back()); ++i)
        if (i == kMaxRepeatsOfOne)
          Expected(fmt::format("at most {} repetitions of one thing", kMaxRepeatsOfOne));
    }
    return Sequence(std::move(parts));
  }

  Expr ParseItem(uint32_t depth) {
    if (Next("\"")) return ParseLiteral();
    if (Next("[")) return ParseClass();
    if (Next(".")) return Class(CodePoints::All());
    if (Peek() == '(') {
      if (depth == kMaxGroupDepth) Expected(fmt::format("groups at most {} deep", kMaxGroupDepth));
      ++at_;
      Expr group = ParseChoice(depth + 1);
      SkipSpace(true);
      if (!Next(")")) Expected("')'");
      return group;
    }
    if (!IsNameCharacter(Peek()))
      Expected("a \"literal\", a [class], '.', a ( group ) or the name of a rule");
    const size_t begin = at_;
    const uint32_t rule = RuleByName(ParseName());
    uses_.emplace_back(rule, begin);
    return Call(rule);
  }

  Expr ParseLiteral() {
    std::string bytes;
    while (Peek() != '"') {
      if (at_ >= text_.size() || Peek() == '\n') Expected("'\"' at the end of the literal");
      AppendUtf8(ParseCharacter(), &bytes);
    }
    ++at_;
    return Text(std::move(bytes));
  }

  Expr ParseClass() {
    const bool negated = Next("^");
    CodePoints points;
    while (Peek() != ']') {
      if (at_ >= text_.size() || Peek() == '\n') Expected("']' at the end of the class");
      const size_t begin = at_;
      const uint32_t lo = ParseCharacter();
      uint32_t hi = lo;
      if (Peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        if (Peek() == '\n') Expected("']' at the end of the class");
        hi = ParseCharacter();
      }
      if (hi < lo) {
        at_ = begin;
        Expected("a range that ends after it begins");
      }
      points.Add(lo, hi);
    }
    ++at_;
    return Class(negated ? points.Complement() : points);
  }

  uint32_t ParseCharacter() {
    if (Peek() != '\\') {
      const text::Utf8Char c = text::DecodeUtf8(text_.substr(at_));
      at_ += c.bytes;
      return c.code;
    }
    const size_t begin = at_++;
    const char kind = Peek();
    ++at_;
    switch (kind) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case '\\':
      case '"':
      case '[':
      case ']':
      case '^':
      case '-':
        return static_cast<uint8_t>(kind);
      case 'x':
        return ParseHex(2, begin);
      case 'u':
        return ParseHex(4, begin);
      case 'U':
        return ParseHex(8, begin);
      default:
        break;
    }
    at_ = begin;
    Expected(R"(an escape: \n \r \t \\ \" \[ \] \^ \- \xHH \uHHHH \UHHHHHHHH)");
  }

  uint32_t ParseHex(int digits, size_t begin) {
    uint64_t code = 0;
    for (int i = 0; i < digits; ++i) {
      const int digit = HexDigit(Peek());
      if (digit < 0) Expected(fmt::format("{} hexadecimal digits", digits));
      ++at_;
      code = code * 16 + digit;
    }
    if (code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF)) return static_cast<uint32_t>(code);
    at_ = begin;
    Expected("the number of a character: to 10FFFF, no surrogate");
  }

  bool ParseRepetition(Expr* part) {
    uint32_t min = 0, max = kUnbounded;
    if (Next("+")) {
      min = 1;
    } else if (Next("?")) {
      max = 1;
    } else if (Next("{")) {
      SkipSpace(true);
      min = ParseCount();
      SkipSpace(true);
      max = min;
      if (Next(",")) {
        SkipSpace(true);
        max = Peek() == '}' ? kUnbounded : ParseCount();
        SkipSpace(true);
      }
      if (max < min) Expected("a greatest number of repetitions that is not below the least");
      if (!Next("}")) Expected("'}'");
    } else if (!Next("*")) {
      return false;
    }
    *part = Repeat(std::move(*part), min, max);
    return true;
  }

  uint32_t ParseCount() {
    if (Peek() < '0' || Peek() > '9') Expected("a number of repetitions");
    uint32_t count = 0;
    for (; Peek() >= '0' && Peek() <= '9'; ++at_) {
      count = count * 10 + (Peek() - '0');
      if (count > kMaxRepetitions) Expected(fmt::format("at most {} repetitions", kMaxRepetitions));
    }
    return count;
  }

  const std::string_view text_;
  Rules& rules_;
  size_t at_ = 0;
  std::unordered_map<std::string, uint32_t> by_name_;
  std::vector<std::pair<uint32_t, size_t>> uses_;
};

}  // namespace

uint32_t ParseGbnf(std::string_view text, Rules* rules) {
  return GbnfParser(text, rules).Parse();
}

}  // namespace onecopy::grammar
