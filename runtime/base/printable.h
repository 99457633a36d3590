// Text from a file, made fit for a message: files may be hostile, and messages go to terminals and logs.
#pragma once

#include <string>
#include <string_view>

namespace onecopy {

// True for well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
bool IsUtf8(std::string_view text);

// The text with control characters and malformed bytes as \xHH, cut after max_bytes with "…".
std::string Printable(std::string_view text, size_t max_bytes = 80);

}  // namespace onecopy
