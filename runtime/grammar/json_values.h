// JSON as rules (RFC 8259): strings, numbers, white space, and any value. White space, digits and exponents are
// bounded, so that a model cannot write them for ever. Not thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "runtime/grammar/expression.h"

namespace onecopy::grammar {

// These characters as they stand inside a JSON string: quotes, backslashes and control characters escaped.
Expr JsonCharacters(const CodePoints& points);
// One character written in any of the ways of JSON: also \u00e9, and pairs of surrogates.
Expr AnyJsonCharacter();
// Turns every class of an expression over characters (no text, calls or graphs) into JsonCharacters.
Expr InJsonString(const Expr& characters);
// The text with its quotes.
std::string QuotedJson(std::string_view text);

Expr JsonDigit();
Expr JsonColon();  // with an optional space after it

// The rules that most grammars share, made when they are first asked for.
class JsonValues {
 public:
  explicit JsonValues(Rules* rules) : rules_(*rules) {}

  uint32_t Space();  // none, one blank, or a new line and its indentation
  uint32_t String();
  uint32_t Number();
  uint32_t Integer();
  uint32_t AnyValue();
  uint32_t AnyObject();
  uint32_t AnyArray();

  Expr Comma();  // with space after it
  // [ parts ] or { parts } with space inside the brackets.
  Expr Bracketed(char open, Expr parts, char close);
  // Exactly this value, with space where JSON allows some. Depth: that of the value, which is limited where it
  // was read.
  Expr Exactly(const nlohmann::ordered_json& value);

 private:
  uint32_t Make(std::optional<uint32_t>* rule, const char* name, CommonRule common,
                Expr (JsonValues::*body)());
  Expr SpaceBody();
  Expr StringBody();
  Expr NumberBody();
  Expr IntegerBody();
  Expr ValueBody();
  Expr ObjectBody();
  Expr ArrayBody();

  Rules& rules_;
  std::optional<uint32_t> space_, string_, number_, integer_, value_, object_, array_;
};

}  // namespace onecopy::grammar
