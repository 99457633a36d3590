#include "runtime/text/byte_alphabet.h"

#include <array>

#include "runtime/text/utf8.h"

namespace onecopy::text {
namespace {

// Bytes that print stand for themselves (as U+0021 ... U+00FF), the others follow from U+0100 in order.
constexpr bool PrintsAsItself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr int kAlphabetEnd = 0x100 + 68;  // 68 bytes do not print

struct Tables {
  std::array<std::string, 256> of_byte;
  std::array<int16_t, kAlphabetEnd> of_code{};  // -1: not in the alphabet

  Tables() {
    of_code.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const int code = PrintsAsItself(byte) ? byte : next++;
      of_code[code] = static_cast<int16_t>(byte);
      if (code < 0x80) {
        of_byte[byte] = static_cast<char>(code);
      } else {
        of_byte[byte] = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
      }
    }
  }
};

const Tables& GetTables() {
  static const Tables tables;
  return tables;
}

}  // namespace

std::string_view ByteToAlphabet(uint8_t byte) {
  return GetTables().of_byte[byte];
}

std::string BytesToAlphabet(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) out += ByteToAlphabet(static_cast<uint8_t>(byte));
  return out;
}

std::optional<std::string> AlphabetToBytes(std::string_view token) {
  const Tables& tables = GetTables();
  std::string out;
  while (!token.empty()) {
    const Utf8Char c = DecodeUtf8(token);
    if (c.state != Utf8State::kValid || c.code >= kAlphabetEnd || tables.of_code[c.code] < 0)
      return std::nullopt;
    out += static_cast<char>(tables.of_code[c.code]);
    token.remove_prefix(c.bytes);
  }
  return out;
}

}  // namespace onecopy::text
