// Changes of a GGUF file that keep most of it readable: libFuzzer's own mostly break a length, and what comes after it is
// never seen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onecopy::fuzz {

// 0 where the file cannot be taken apart; else its new size. Follows from seed.
size_t MutateGguf(uint8_t* data, size_t size, size_t max_size, unsigned seed);

}  // namespace onecopy::fuzz
