#include "runtime/grammar/digits.h"

#include <algorithm>
#include <map>

#include "runtime/base/error.h"
#include "runtime/grammar/json_values.h"
#include "runtime/grammar/number_range.h"

namespace onecopy::grammar {
namespace {

Expr DigitClass(char lo, char hi) {
  return Class(CodePoints(static_cast<uint8_t>(lo), static_cast<uint8_t>(hi)));
}

// A digit and what may follow it; null where nothing may.
Expr DigitThen(char lo, char hi, const Digits& rest) {
  if (lo > hi || (!rest.may_stop && rest.more == nullptr)) return nullptr;
  Expr digit = DigitClass(lo, hi);
  if (rest.more == nullptr) return digit;
  return Sequence({digit, rest.may_stop ? Optional(rest.more) : rest.more});
}

Expr OneOf(std::initializer_list<Expr> ways) {
  std::vector<Expr> possible;
  for (const Expr& way : ways)
    if (way != nullptr) possible.push_back(way);
  return possible.empty() ? nullptr : Choice(std::move(possible));
}

std::string_view Rest(std::string_view digits) {
  return digits.empty() ? digits : digits.substr(1);
}

// Digit by digit, with the remainder so far: places are shared by what is left to read and the remainder.
class MultipleBuilder {
 public:
  explicit MultipleBuilder(uint32_t multiple) : multiple_(multiple) {}

  // Of the same number of digits, without leading zeros.
  void Add(const std::string& lo, const std::string& hi) { Tight(0, lo, hi, 0, 0, true, true); }
  bool empty() const { return !reaches_end_; }
  Expr Finish() { return graph_.Finish(); }

 private:
  uint32_t Next(uint32_t remainder, char digit) const { return (remainder * 10 + (digit - '0')) % multiple_; }

  void Tight(uint32_t place, const std::string& lo, const std::string& hi, size_t at, uint32_t remainder,
             bool at_lo, bool at_hi) {
    if (at == lo.size()) {
      if (remainder != 0) return;
      graph_.Connect(place, 1);
      reaches_end_ = true;
      return;
    }
    const char first = at_lo ? lo[at] : '0', last = at_hi ? hi[at] : '9';
    for (char digit = first; digit <= last; ++digit) {
      const bool still_lo = at_lo && digit == first, still_hi = at_hi && digit == last;
      const uint32_t next = Next(remainder, digit);
      if (!still_lo && !still_hi) {
        const uint32_t free = Free(static_cast<uint32_t>(lo.size() - at - 1), next);
        graph_.Connect(place, free, DigitClass(digit, digit));
        continue;
      }
      const uint32_t inner = graph_.AddPlace();
      graph_.Connect(place, inner, DigitClass(digit, digit));
      Tight(inner, lo, hi, at + 1, next, still_lo, still_hi);
    }
  }

  // Where `left` more digits may be any that end on a multiple.
  uint32_t Free(uint32_t left, uint32_t remainder) {
    const auto [at, is_new] = free_.try_emplace({left, remainder}, 0);
    if (!is_new) return at->second;
    const uint32_t place = graph_.AddPlace();
    free_[{left, remainder}] = place;
    if (left == 0) {
      if (remainder == 0) graph_.Connect(place, 1);
      reaches_end_ |= remainder == 0;
      return place;
    }
    for (char digit = '0'; digit <= '9'; ++digit)
      graph_.Connect(place, Free(left - 1, Next(remainder, digit)), DigitClass(digit, digit));
    return place;
  }

  const uint32_t multiple_;
  GraphBuilder graph_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> free_;
  bool reaches_end_ = false;
};

Expr PositiveMultiples(int64_t lo, int64_t hi, uint32_t multiple) {
  MultipleBuilder builder(multiple);
  int64_t least = 1;  // of the numbers with as many digits
  while (least <= hi) {
    const int64_t greatest = least * 10 - 1;
    const int64_t from = std::max(lo, least), to = std::min(hi, greatest);
    if (from <= to) builder.Add(std::to_string(from), std::to_string(to));
    least = greatest + 1;
  }
  return builder.empty() ? nullptr : builder.Finish();
}

}  // namespace

Expr WholeDigits(int64_t lo, int64_t hi, uint64_t multiple) {
  int64_t power = 1;
  std::string zeros;
  while (multiple % 10 == 0 && power < 1'000'000'000'000'000'000) {
    multiple /= 10;
    power *= 10;
    zeros += '0';
  }
  if (multiple > kMaxMultiple)
    Fail(ErrorCode::kUsage,
         "multiples of {} are not supported: without its factors of ten it may be at most {}", multiple,
         kMaxMultiple);
  const int64_t from = lo / power + (lo % power != 0), to = hi / power;
  Expr positive = to < std::max<int64_t>(from, 1)
                      ? nullptr
                      : PositiveMultiples(std::max<int64_t>(from, 1), to, static_cast<uint32_t>(multiple));
  if (positive != nullptr && !zeros.empty()) positive = Sequence({positive, Text(zeros)});
  return OneOf({lo == 0 ? Text("0") : nullptr, positive});
}

Digits AnyDigits(uint32_t max_digits) {
  return {true, max_digits == 0 ? nullptr : Repeat(JsonDigit(), 1, max_digits)};
}

Digits DigitsFrom(std::string_view lo, bool exclusive, uint32_t max_digits) {
  if (lo.empty() && !exclusive) return AnyDigits(max_digits);
  if (max_digits == 0) return {};
  const char first = lo.empty() ? '0' : lo[0];
  return {false, OneOf({DigitThen(first + 1, '9', AnyDigits(max_digits - 1)),
                        DigitThen(first, first, DigitsFrom(Rest(lo), exclusive, max_digits - 1))})};
}

Digits DigitsTo(std::string_view hi, bool exclusive, uint32_t max_digits) {
  if (hi.empty()) {
    if (exclusive) return {};
    return {true, max_digits == 0 ? nullptr : Repeat(DigitClass('0', '0'), 1, max_digits)};
  }
  if (max_digits == 0) return {true, nullptr};
  return {true, OneOf({DigitThen('0', hi[0] - 1, AnyDigits(max_digits - 1)),
                       DigitThen(hi[0], hi[0], DigitsTo(Rest(hi), exclusive, max_digits - 1))})};
}

Digits DigitsBetween(std::string_view lo, bool lo_exclusive, std::string_view hi, bool hi_exclusive,
                     uint32_t max_digits) {
  if (lo.empty() && !lo_exclusive) return DigitsTo(hi, hi_exclusive, max_digits);
  if (hi.empty() || max_digits == 0) return {};  // above zero and at most zero; or below lo without digits
  const char first = lo.empty() ? '0' : lo[0], last = hi[0];
  if (first > last) return {};
  const uint32_t rest = max_digits - 1;
  if (first == last)
    return {false,
            DigitThen(first, first, DigitsBetween(Rest(lo), lo_exclusive, Rest(hi), hi_exclusive, rest))};
  return {false, OneOf({DigitThen(first, first, DigitsFrom(Rest(lo), lo_exclusive, rest)),
                        DigitThen(first + 1, last - 1, AnyDigits(rest)),
                        DigitThen(last, last, DigitsTo(Rest(hi), hi_exclusive, rest))})};
}

}  // namespace onecopy::grammar
