// The alphabet of byte-level vocabularies: each of the 256 bytes is written as a printable character, so that
// a vocabulary file is text ("Ġthe" is " the"). Free functions. Source: GPT-2 encoder.py, bytes_to_unicode().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace onecopy::text {

// The character that stands for `byte`, in UTF-8.
std::string_view ByteToAlphabet(uint8_t byte);

// The text of `bytes` in the alphabet.
std::string BytesToAlphabet(std::string_view bytes);

// The bytes that `token` stands for; empty when it has characters outside the alphabet.
std::optional<std::string> AlphabetToBytes(std::string_view token);

}  // namespace onecopy::text
