#include "runtime/grammar/json_values.h"

#include <nlohmann/json.hpp>

namespace onecopy::grammar {
namespace {

constexpr uint32_t kMaxIndentation = 40;
// As many as 64-bit integers and doubles hold; exponents that no double overflows with.
constexpr uint32_t kMaxIntegerDigits = 18, kMaxNumberDigits = 16, kMaxFractionDigits = 16;

struct ShortEscape {
  char code, letter;
};
constexpr ShortEscape kShortEscapes[] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                         {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};

CodePoints Unescaped() {
  CodePoints points(0x20, 0x10FFFF);
  return points.Without(CodePoints::Of("\"\\"));
}

Expr HexClass(std::string_view digits) {
  return Class(CodePoints::Of(digits));
}

Expr NonZeroDigit() {
  return Class(CodePoints('1', '9'));
}

// digits: the most there may be.
Expr WholeNumber(uint32_t digits) {
  return Sequence({Optional(Text("-")),
                   Choice({Text("0"), Sequence({NonZeroDigit(), Repeat(JsonDigit(), 0, digits - 1)})})});
}

}  // namespace

Expr JsonCharacters(const CodePoints& points) {
  std::vector<Expr> ways;
  const CodePoints raw = points.And(Unescaped());
  if (!raw.empty()) ways.push_back(Class(raw));
  CodePoints rest = points.Without(raw);
  CodePoints letters;
  for (const ShortEscape& escape : kShortEscapes) {
    if (!rest.Contains(static_cast<uint8_t>(escape.code))) continue;
    letters.Add(escape.letter, escape.letter);
    rest = rest.Without(CodePoints(escape.code, escape.code));
  }
  if (!letters.empty()) ways.push_back(Sequence({Text("\\"), Class(letters)}));
  // What is left are control characters: \u000X and \u001X.
  for (const uint32_t high : {0u, 1u}) {
    CodePoints digits;
    for (uint32_t low = 0; low < 16; ++low)
      if (rest.Contains(high * 16 + low)) digits.Add("0123456789abcdef"[low], "0123456789abcdef"[low]);
    if (!digits.empty()) ways.push_back(Sequence({Text(high == 0 ? "\\u000" : "\\u001"), Class(digits)}));
  }
  return Choice(std::move(ways));
}

Expr AnyJsonCharacter() {
  const Expr hex = HexClass("0123456789abcdefABCDEF"), d = HexClass("dD");
  const Expr not_surrogate = Choice({Sequence({HexClass("0123456789abcefABCEF"), hex, hex, hex}),
                                     Sequence({d, HexClass("01234567"), hex, hex})});
  const Expr pair =
      Sequence({d, HexClass("89abAB"), hex, hex, Text("\\u"), d, HexClass("cdefCDEF"), hex, hex});
  return Choice({Class(Unescaped()), Sequence({Text("\\"), HexClass("\"\\/bfnrt")}),
                 Sequence({Text("\\u"), Choice({not_surrogate, pair})})});
}

Expr InJsonString(const Expr& characters) {
  if (characters->kind == Node::Kind::kClass) return JsonCharacters(characters->points);
  auto node = std::make_shared<Node>(*characters);
  for (Expr& part : node->parts) part = InJsonString(part);
  for (Node::Arrow& arrow : node->arrows)
    if (arrow.label != nullptr) arrow.label = InJsonString(arrow.label);
  return node;
}

std::string QuotedJson(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Expr JsonDigit() {
  return Class(CodePoints('0', '9'));
}

Expr JsonColon() {
  return Sequence({Text(":"), Optional(Text(" "))});
}

uint32_t JsonValues::Make(std::optional<uint32_t>* rule, const char* name, CommonRule common,
                          Expr (JsonValues::*body)()) {
  if (!rule->has_value()) {
    *rule = static_cast<uint32_t>(rules_.size());
    rules_.push_back({name, nullptr, common});
    Expr made = (this->*body)();  // may add rules, or ask for this one
    rules_[rule->value()].body = std::move(made);
  }
  return rule->value();
}

uint32_t JsonValues::Space() {
  return Make(&space_, "space", CommonRule::kSpace, &JsonValues::SpaceBody);
}
uint32_t JsonValues::String() {
  return Make(&string_, "string", CommonRule::kString, &JsonValues::StringBody);
}
uint32_t JsonValues::Number() {
  return Make(&number_, "number", CommonRule::kNumber, &JsonValues::NumberBody);
}
uint32_t JsonValues::Integer() {
  return Make(&integer_, "integer", CommonRule::kInteger, &JsonValues::IntegerBody);
}
uint32_t JsonValues::AnyValue() {
  return Make(&value_, "value", CommonRule::kNone, &JsonValues::ValueBody);
}
uint32_t JsonValues::AnyObject() {
  return Make(&object_, "object", CommonRule::kNone, &JsonValues::ObjectBody);
}
uint32_t JsonValues::AnyArray() {
  return Make(&array_, "array", CommonRule::kNone, &JsonValues::ArrayBody);
}

Expr JsonValues::SpaceBody() {
  return Choice({Nothing(), Text(" "),
                 Sequence({Text("\n"), Choice({Repeat(Text(" "), 0, kMaxIndentation),
                                               Repeat(Text("\t"), 0, kMaxIndentation / 2)})})});
}

Expr JsonValues::StringBody() {
  return Sequence({Text("\""), Repeat(AnyJsonCharacter(), 0, kUnbounded), Text("\"")});
}

Expr JsonValues::NumberBody() {
  const Expr fraction = Sequence({Text("."), Repeat(JsonDigit(), 1, kMaxFractionDigits)});
  const Expr exponent = Sequence({HexClass("eE"), Optional(HexClass("+-")), Repeat(JsonDigit(), 1, 2)});
  return Sequence({WholeNumber(kMaxNumberDigits), Optional(fraction), Optional(exponent)});
}

Expr JsonValues::IntegerBody() {
  return WholeNumber(kMaxIntegerDigits);
}

Expr JsonValues::ValueBody() {
  return Choice({Call(AnyObject()), Call(AnyArray()), Call(String()), Call(Number()), Text("true"),
                 Text("false"), Text("null")});
}

Expr JsonValues::ObjectBody() {
  const Expr member = Sequence({Call(String()), JsonColon(), Call(AnyValue())});
  return Bracketed('{', Optional(Sequence({member, Repeat(Sequence({Comma(), member}), 0, kUnbounded)})),
                   '}');
}

Expr JsonValues::ArrayBody() {
  const Expr value = Call(AnyValue());
  return Bracketed('[', Optional(Sequence({value, Repeat(Sequence({Comma(), value}), 0, kUnbounded)})), ']');
}

Expr JsonValues::Comma() {
  return Sequence({Text(","), Call(Space())});
}

Expr JsonValues::Bracketed(char open, Expr parts, char close) {
  return Sequence({Text(std::string(1, open)), Call(Space()), std::move(parts), Call(Space()),
                   Text(std::string(1, close))});
}

Expr JsonValues::Exactly(const nlohmann::ordered_json& value) {
  if (!value.is_structured())
    return Text(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  std::vector<Expr> parts;
  for (const auto& [key, member] : value.items()) {
    if (!parts.empty()) parts.push_back(Comma());
    if (value.is_object()) {
      parts.push_back(Text(QuotedJson(key)));
      parts.push_back(JsonColon());
    }
    parts.push_back(Exactly(member));
  }
  if (parts.empty()) parts.push_back(Nothing());
  return value.is_object() ? Bracketed('{', Sequence(std::move(parts)), '}')
                           : Bracketed('[', Sequence(std::move(parts)), ']');
}

}  // namespace onecopy::grammar
