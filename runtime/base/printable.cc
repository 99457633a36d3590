#include "runtime/base/printable.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>

namespace onecopy {
namespace {

// Bytes of the well-formed character at the front of text, 0 when there is none. (Unicode standard, table
// 3-7.)
size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t bytes = lead >= 0xC2 && lead <= 0xDF   ? 2
                       : lead >= 0xE0 && lead <= 0xEF ? 3
                       : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                      : 0;
  if (bytes == 0 || text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // The second byte rules out overlong forms, surrogates and code points past U+10FFFF.
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) > 0x9F) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;
  return bytes;
}

bool IsControl(std::string_view character) {
  const auto lead = static_cast<uint8_t>(character[0]);
  if (character.size() == 1) return lead < 0x20 || lead == 0x7F;
  // U+0080 … U+009F: a terminal may take them for escape sequences.
  return character.size() == 2 && lead == 0xC2 && static_cast<uint8_t>(character[1]) < 0xA0;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = CharacterBytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string Printable(std::string_view text, size_t max_bytes) {
  std::string out;
  while (!text.empty()) {
    const size_t well_formed = CharacterBytes(text);
    const std::string_view character = text.substr(0, well_formed == 0 ? 1 : well_formed);
    text.remove_prefix(character.size());
    if (well_formed == 0 || IsControl(character)) {
      for (const char c : character)
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<uint8_t>(c));
    } else {
      out += character;
    }
    if (out.size() >= max_bytes && !text.empty()) return out + "…";
  }
  return out;
}

}  // namespace onecopy
