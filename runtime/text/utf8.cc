#include "runtime/text/utf8.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

namespace onecopy::text {
namespace {

struct Lead {
  uint32_t bytes;                  // 0: not a lead byte
  uint8_t second_min, second_max;  // excludes overlong forms, surrogates and code points above U+10FFFF
};

Lead Classify(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Char DecodeUtf8(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  const Lead lead = Classify(first);
  if (lead.bytes == 0) return {Utf8State::kInvalid, 0, 1};
  if (lead.bytes == 1) return {Utf8State::kValid, first, 1};
  char32_t code = first & (0x7F >> lead.bytes);
  for (uint32_t i = 1; i < lead.bytes; ++i) {
    if (i >= text.size()) return {Utf8State::kIncomplete, 0, i};
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.second_min : 0x80;
    const uint8_t high = i == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) return {Utf8State::kInvalid, 0, i};
    code = code << 6 | (byte & 0x3F);
  }
  return {Utf8State::kValid, code, lead.bytes};
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    out += c.state == Utf8State::kValid ? text.substr(0, c.bytes) : kReplacementCharacter;
    text.remove_prefix(c.bytes);
  }
  return out;
}

size_t IncompleteTailBytes(std::string_view text) {
  // A character has at most four bytes, so an unfinished one starts in the last three.
  for (size_t tail = std::min<size_t>(3, text.size()); tail > 0; --tail) {
    const Utf8Char c = DecodeUtf8(text.substr(text.size() - tail));
    if (c.state == Utf8State::kIncomplete && c.bytes == tail) return tail;
  }
  return 0;
}

bool IsWhiteSpace(char32_t code) {
  if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return code == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
         category == UTF8PROC_CATEGORY_ZP;
}

bool IsWordCharacter(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

}  // namespace onecopy::text
