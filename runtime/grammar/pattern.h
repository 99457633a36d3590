// Regular expressions of JSON schemas ("pattern"), and the strings of "format", as expressions over characters. Pure
// functions. Source: ECMA-262 as JSON Schema 2020-12, 6.4, recommends it: literals, escapes, classes, groups,
// alternatives, quantifiers, ^ and $ at the ends. Where dialects differ, only strings are in it that all of them match:
// \d and \w are ASCII, \D, \W and \S leave out what any dialect counts as digit, word or space.
#pragma once

#include <optional>
#include <string_view>

#include "runtime/grammar/expression.h"

namespace onecopy::grammar {

inline constexpr size_t kMaxPatternBytes = 4096;
inline constexpr uint32_t kMaxPatternDepth = 50;
inline constexpr uint32_t kMaxPatternCount = 4096;

// Whole strings in which the pattern is found. The expression has classes only: no text, no calls.
// Errors: kUsage, saying what is not supported: look-around, back-references, \b, anchors elsewhere, Unicode
// properties, flags.
Expr ParsePattern(std::string_view pattern);

// Empty: not a format that is known here. Pattern: to be anchored by whoever parses it; it is already.
std::optional<std::string_view> PatternOfFormat(std::string_view format);
// Formats of JSON Schema that cannot be kept to.
bool IsUnsupportedFormat(std::string_view format);

// Of the strings that the expression means, those of min to max characters.
// Errors: kUsage where the two together are too large.
Expr WithLength(const Expr& characters, uint32_t min, uint32_t max);

}  // namespace onecopy::grammar
