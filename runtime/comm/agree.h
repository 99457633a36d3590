// The end of a set-up stage, told by each rank in bytes and judged by all from the same bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/error.h"

namespace onecopy::comm {

// `error` is null on success.
std::vector<uint8_t> EncodeOutcome(const Error* error);

// outcomes: by rank. Returns when all succeeded; otherwise throws Error with the code of the lowest failing
// rank and every distinct message, each with the ranks and hosts it came from.
void ThrowIfAnyFailed(const char* stage, const std::vector<std::vector<uint8_t>>& outcomes);

}  // namespace onecopy::comm
