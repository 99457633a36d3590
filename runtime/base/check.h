// Arithmetic on sizes that come from files, and the assertion for what only a bug can break.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/base/error.h"

namespace onecopy {

// Empty on overflow, so that a size from a file can be checked before it is used.
inline std::optional<uint64_t> CheckedMul(uint64_t a, uint64_t b) {
  uint64_t out;
  return __builtin_mul_overflow(a, b, &out) ? std::nullopt : std::optional(out);
}
inline std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  uint64_t out;
  return __builtin_add_overflow(a, b, &out) ? std::nullopt : std::optional(out);
}

constexpr uint64_t RoundUp(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
constexpr uint64_t DivUp(uint64_t value, uint64_t divisor) {
  return (value + divisor - 1) / divisor;
}

}  // namespace onecopy

// Always on: an invariant of onecopy's own code (never of its input).
#define ONECOPY_CHECK(condition)                                    \
  do {                                                              \
    if (!(condition)) [[unlikely]]                                  \
      ::onecopy::Fail(::onecopy::ErrorCode::kInternal,              \
                      "{}:{}: {} does not hold, which is a bug in " \
                      "onecopy; please report it",                  \
                      __FILE__, __LINE__, #condition);              \
  } while (false)
