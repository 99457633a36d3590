#include "runtime/grammar/number_range.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/grammar/digits.h"

namespace onecopy::grammar {
namespace {

constexpr int64_t kEndOfIntegers = 1'000'000'000'000'000'000;  // 10^18
constexpr int64_t kEndOfNumbers = 1'000'000'000'000'000;       // 10^15

// Towards zero; `end` where it is that or more.
int64_t WholePart(const Decimal& value, int64_t end) {
  if (value.whole.size() > 18) return end;
  const int64_t whole = value.whole.empty() ? 0 : std::strtoll(value.whole.c_str(), nullptr, 10);
  return std::min(whole, end);
}

// The least (up) or greatest integer that the bound lets through, within ±end.
int64_t IntegerBound(const Bound& bound, bool up, int64_t end) {
  const int64_t whole = WholePart(bound.value, end);
  if (whole == end) return bound.value.negative ? -end : end;
  const int64_t towards_zero = bound.value.negative ? -whole : whole;
  if (bound.value.fraction.empty()) return towards_zero + (bound.exclusive ? (up ? 1 : -1) : 0);
  if (up) return bound.value.negative ? towards_zero : towards_zero + 1;
  return bound.value.negative ? towards_zero - 1 : towards_zero;
}

Expr Integers(const NumberRange& range) {
  const int64_t lo = range.lo ? IntegerBound(*range.lo, true, kEndOfIntegers) : -kEndOfIntegers;
  const int64_t hi = range.hi ? IntegerBound(*range.hi, false, kEndOfIntegers) : kEndOfIntegers;
  std::vector<Expr> ways;
  const auto add = [&](const char* sign, int64_t least, int64_t greatest) {
    greatest = std::min(greatest, kEndOfIntegers - 1);
    if (least > greatest) return;
    Expr digits = WholeDigits(least, greatest, range.multiple);
    if (digits != nullptr) ways.push_back(Sequence({Text(sign), std::move(digits)}));
  };
  add("", std::max<int64_t>(lo, 0), hi);
  add("-", std::max<int64_t>(-hi, 1), -lo);
  return ways.empty() ? nullptr : Choice(std::move(ways));
}

// One side of zero: the distance from it.
struct Magnitude {
  int64_t whole = 0;
  std::string fraction;
  bool exclusive = false;
};

Magnitude MagnitudeOf(const Bound& bound) {
  return {WholePart(bound.value, kEndOfNumbers), bound.value.fraction, bound.exclusive};
}

// lo and hi (none: null) as distances; appends the ways to write what is between.
void AddMagnitudes(const char* sign, const Magnitude& lo, const Magnitude* hi, uint32_t max_fraction,
                   std::vector<Expr>* ways) {
  const auto add = [&](Expr whole, const Digits& fraction) {
    if (whole == nullptr) return;
    Expr point = fraction.more == nullptr ? nullptr : Sequence({Text("."), fraction.more});
    if (point != nullptr && fraction.may_stop) point = Optional(std::move(point));
    if (point == nullptr && !fraction.may_stop) return;
    ways->push_back(
        Sequence({Text(sign), std::move(whole), point == nullptr ? Nothing() : std::move(point)}));
  };
  const auto exactly = [](int64_t whole) { return Text(std::to_string(whole)); };
  if (lo.whole >= kEndOfNumbers) return;
  if (hi != nullptr && hi->whole < kEndOfNumbers) {
    if (lo.whole > hi->whole) return;
    if (lo.whole == hi->whole)
      return add(exactly(lo.whole),
                 DigitsBetween(lo.fraction, lo.exclusive, hi->fraction, hi->exclusive, max_fraction));
    add(exactly(hi->whole), DigitsTo(hi->fraction, hi->exclusive, max_fraction));
  }
  const int64_t end = hi == nullptr ? kEndOfNumbers : hi->whole;
  add(exactly(lo.whole), DigitsFrom(lo.fraction, lo.exclusive, max_fraction));
  if (lo.whole + 1 <= end - 1) add(WholeDigits(lo.whole + 1, end - 1, 1), AnyDigits(max_fraction));
}

Expr Fractions(const NumberRange& range) {
  // Numbers next to an exclusive bound must differ from it as doubles, too.
  uint32_t max_fraction = kMaxRangeDigits;
  for (const std::optional<Bound>& bound : {range.lo, range.hi}) {
    if (!bound) continue;
    const size_t whole = bound->value.whole.size(), fraction = bound->value.fraction.size();
    if (bound->exclusive && whole + fraction > kMaxRangeDigits && whole <= kMaxRangeDigits)
      Fail(ErrorCode::kUsage, "an exclusive bound has {} digits, expected at most {}", whole + fraction,
           kMaxRangeDigits);
    max_fraction = std::min<uint32_t>(max_fraction, whole >= kMaxRangeDigits ? 1 : kMaxRangeDigits - whole);
  }
  for (const std::optional<Bound>& bound : {range.lo, range.hi})
    if (bound) max_fraction = std::max<uint32_t>(max_fraction, bound->value.fraction.size());
  max_fraction = std::min(max_fraction, range.max_fraction);

  std::vector<Expr> ways;
  const bool lo_negative = !range.lo || range.lo->value.negative;
  const bool hi_negative = range.hi && range.hi->value.negative;
  if (!hi_negative) {
    const Magnitude lo = lo_negative ? Magnitude{} : MagnitudeOf(*range.lo);
    const Magnitude hi = range.hi ? MagnitudeOf(*range.hi) : Magnitude{};
    AddMagnitudes("", lo, range.hi ? &hi : nullptr, max_fraction, &ways);
  }
  if (lo_negative) {
    Magnitude lo = hi_negative ? MagnitudeOf(*range.hi) : Magnitude{};
    if (!hi_negative) lo.exclusive = true;  // no -0
    const Magnitude hi = range.lo ? MagnitudeOf(*range.lo) : Magnitude{};
    AddMagnitudes("-", lo, range.lo ? &hi : nullptr, max_fraction, &ways);
  }
  return ways.empty() ? nullptr : Choice(std::move(ways));
}

}  // namespace

Decimal DecimalOf(const nlohmann::ordered_json& number) {
  Decimal out;
  const std::string text = number.dump();
  std::string digits;
  int64_t exponent = 0, point = -1;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-')
      out.negative = true;
    else if (c == '.')
      point = static_cast<int64_t>(digits.size());
    else if (c == 'e') {
      exponent = std::strtoll(text.c_str() + i + 1, nullptr, 10);
      break;
    } else
      digits.push_back(c);
  }
  if (point < 0) point = static_cast<int64_t>(digits.size());
  point += exponent;  // at most some hundred, as in a double
  if (point < 0) {
    digits.insert(0, static_cast<size_t>(-point), '0');
    point = 0;
  }
  if (point > static_cast<int64_t>(digits.size())) digits.append(point - digits.size(), '0');
  out.whole = digits.substr(0, point);
  out.fraction = digits.substr(point);
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  out.fraction.erase(out.fraction.find_last_not_of('0') + 1);
  if (out.is_zero()) out.negative = false;
  return out;
}

int Compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  const int sign = a.negative ? -1 : 1;
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -sign : sign;
  if (const int order = a.whole.compare(b.whole); order != 0) return order < 0 ? -sign : sign;
  const int order = a.fraction.compare(b.fraction);
  return order == 0 ? 0 : order < 0 ? -sign : sign;
}

Expr InRange(const NumberRange& range) {
  return range.integer ? Integers(range) : Fractions(range);
}

}  // namespace onecopy::grammar
