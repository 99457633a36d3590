// "64G", "1.5GiB", "500M" <-> bytes.
#pragma once

#include <cstdint>
#include <string>

namespace onecopy {

// A number and an optional unit: B, K, M, G, T are powers of 1000, Ki, Mi, Gi, Ti of 1024; a B may follow; no
// unit: bytes. Errors: kUsage, quoting the text.
uint64_t ParseBytes(const std::string& text);

// "1.23 GB", "17.2 MB", "512 B": decimal, three digits.
std::string FormatBytes(uint64_t bytes);

}  // namespace onecopy
