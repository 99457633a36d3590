// Numbers within bounds, as expressions over their decimal digits. Pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "runtime/grammar/expression.h"

namespace onecopy::grammar {

// A JSON number in decimal: what its shortest text says.
struct Decimal {
  bool negative = false;
  std::string whole, fraction;  // digits; without leading and trailing zeros, empty for zero
  bool is_zero() const { return whole.empty() && fraction.empty(); }
};
Decimal DecimalOf(const nlohmann::ordered_json& number);
int Compare(const Decimal& a, const Decimal& b);  // <0, 0, >0

struct Bound {
  Decimal value;
  bool exclusive = false;
};

// What numbers are written with at most; bounds beyond are as good as none where they are loose, and leave
// nothing where they are tight.
inline constexpr uint32_t kMaxRangeDigits = 15;  // so many decimal digits survive a double (DBL_DIG)
inline constexpr uint64_t kMaxMultiple = 500;    // beside powers of ten

struct NumberRange {
  std::optional<Bound> lo, hi;
  bool integer = false;
  // Integers: the numbers that this divides. Powers of ten are taken out first; what is left is at most kMaxMultiple.
  uint64_t multiple = 1;
  // Others: the most digits after the point.
  uint32_t max_fraction = kMaxRangeDigits;
};

// Integers without fraction or exponent, others without exponent. Null where no number is in the range.
// Errors: kUsage where `multiple` is too large, or an exclusive bound has so many digits that a double could not
// tell it from its neighbours.
Expr InRange(const NumberRange& range);

}  // namespace onecopy::grammar
