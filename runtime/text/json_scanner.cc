#include "runtime/text/json_scanner.h"

#include <string>

namespace onecopy::text {
namespace {

bool IsJsonSpace(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}
bool IsJsonDigit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

JsonScanner::State JsonScanner::Push(char c) {
  switch (place_) {
    case Place::kString:
      if (c == '"') EndString();
      if (c == '\\') place_ = Place::kEscape;
      return State::kMore;
    case Place::kEscape:
      place_ = c == 'u' ? Place::kHex : Place::kString;
      hex_left_ = 4;
      return std::string_view("\"\\/bfnrtu").find(c) == std::string_view::npos ? State::kBad : State::kMore;
    case Place::kHex:
      if (!IsJsonDigit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F')) return State::kBad;
      if (--hex_left_ == 0) place_ = Place::kString;
      return State::kMore;
    case Place::kLiteral:
      if (c != literal_left_.front()) return State::kBad;
      literal_left_.remove_prefix(1);
      if (literal_left_.empty()) place_ = Place::kAfterValue;
      return State::kMore;
    case Place::kNumber:
      if (Number(c)) return State::kMore;
      // It ends with what cannot be part of it, if it may end there.
      if (number_ == '-' || number_ == '.' || number_ == 'e' || number_ == '+') return State::kBad;
      place_ = Place::kAfterValue;
      break;
    default:
      break;
  }
  if (IsJsonSpace(c)) return place_ == Place::kStart ? State::kBad : State::kMore;
  switch (place_) {
    case Place::kKey:
    case Place::kFirstKey:
      if (c == '}' && place_ == Place::kFirstKey) return Close(c);
      if (c != '"' || ++num_keys_ > kMaxJsonKeys) return State::kBad;
      is_key_ = true;
      place_ = Place::kString;
      return State::kMore;
    case Place::kColon:
      place_ = Place::kValue;
      return c == ':' ? State::kMore : State::kBad;
    case Place::kAfterValue:
      if (c != ',') return Close(c);
      place_ = open_.back() ? Place::kKey : Place::kValue;
      return State::kMore;
    default:
      return Value(c);
  }
}

JsonScanner::State JsonScanner::Value(char c) {
  if (c == '{' || c == '[') {
    if (open_.size() == kMaxJsonDepth) return State::kBad;
    open_.push_back(c == '{');
    place_ = c == '{' ? Place::kFirstKey : Place::kFirstValue;
    return State::kMore;
  }
  if (place_ == Place::kStart) return State::kBad;
  if (c == ']' && place_ == Place::kFirstValue) return Close(c);
  if (c == '"') {
    is_key_ = false;
    place_ = Place::kString;
    return State::kMore;
  }
  if (c == '-' || IsJsonDigit(c)) {
    place_ = Place::kNumber;
    number_ = c == '-' || c == '0' ? c : '1';
    return State::kMore;
  }
  for (const std::string_view literal : {"true", "false", "null"}) {
    if (c != literal.front()) continue;
    literal_left_ = literal.substr(1);
    place_ = Place::kLiteral;
    return State::kMore;
  }
  return State::kBad;
}

JsonScanner::State JsonScanner::Close(char c) {
  if (open_.empty() || c != (open_.back() ? '}' : ']')) return State::kBad;
  open_.pop_back();
  place_ = Place::kAfterValue;
  return open_.empty() ? State::kDone : State::kMore;
}

// number_: '-' the sign, '0' a leading zero, '1' digits, '.' the point, '2' digits after it, 'e' the exponent's letter, '+' its
// sign, '3' its digits.
bool JsonScanner::Number(char c) {
  const char before = number_;
  if (IsJsonDigit(c)) {
    if (before == '-') number_ = c == '0' ? '0' : '1';
    if (before == '.') number_ = '2';
    if (before == 'e' || before == '+') number_ = '3';
    return before != '0';
  }
  if (c == '.' && (before == '0' || before == '1')) {
    number_ = '.';
    return true;
  }
  if ((c == 'e' || c == 'E') && (before == '0' || before == '1' || before == '2')) {
    number_ = 'e';
    return true;
  }
  if ((c == '+' || c == '-') && before == 'e') {
    number_ = '+';
    return true;
  }
  return false;
}

void JsonScanner::EndString() {
  place_ = is_key_ ? Place::kColon : Place::kAfterValue;
}

std::optional<nlohmann::ordered_json> ParseJson(std::string_view text) {
  // Inside of brackets, so that numbers and strings are values too.
  JsonScanner scanner;
  scanner.Push('[');
  for (const char c : text)
    if (scanner.Push(c) != JsonScanner::State::kMore) return std::nullopt;
  if (scanner.Push(']') != JsonScanner::State::kDone) return std::nullopt;
  nlohmann::ordered_json value = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

}  // namespace onecopy::text
