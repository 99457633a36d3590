// Strings of decimal digits whose value is within bounds. Pure functions. Internal to number_range.
#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/grammar/expression.h"

namespace onecopy::grammar {

// Whole numbers lo to hi, 0 <= lo <= hi < 10^18, that `multiple` divides; without leading zeros. Null: there are none.
// Errors: kUsage when `multiple` without its factors of ten is above kMaxMultiple.
Expr WholeDigits(int64_t lo, int64_t hi, uint64_t multiple);

// Digits after a point, at most so many. more: at least one digit; null where there can be none.
struct Digits {
  bool may_stop = false;  // no digits, too
  Expr more;
};
Digits AnyDigits(uint32_t max_digits);
// At least, at most, between (as fractions, without trailing zeros).
Digits DigitsFrom(std::string_view lo, bool exclusive, uint32_t max_digits);
Digits DigitsTo(std::string_view hi, bool exclusive, uint32_t max_digits);
Digits DigitsBetween(std::string_view lo, bool lo_exclusive, std::string_view hi, bool hi_exclusive,
                     uint32_t max_digits);

}  // namespace onecopy::grammar
