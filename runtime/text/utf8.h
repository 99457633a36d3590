// UTF-8, as text arrives from users and from half-finished tokens: decoding that says whether bytes are
// valid, wrong or cut short. Free functions without state. Source: The Unicode Standard 15, table 3-7 and
// "maximal subpart" (3.9).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace onecopy::text {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8State { kValid, kInvalid, kIncomplete };

struct Utf8Char {
  Utf8State state = Utf8State::kInvalid;
  char32_t code = 0;   // kValid only
  uint32_t bytes = 0;  // how many to step over: the character, or the maximal subpart of a wrong one
};

// The first character of `text`, which must not be empty. kIncomplete: the text ends inside a so far valid
// character.
Utf8Char DecodeUtf8(std::string_view text);

// Every maximal subpart of an invalid sequence becomes one U+FFFD, as Python's errors="replace" does.
std::string ReplaceInvalidUtf8(std::string_view text);

// Bytes at the end of `text` that may be the beginning of a character: 0 to 3.
size_t IncompleteTailBytes(std::string_view text);

bool IsWhiteSpace(char32_t code);     // Unicode property White_Space
bool IsWordCharacter(char32_t code);  // letters, marks, decimal and letter numbers, connectors: \w of UTS #18

}  // namespace onecopy::text
