#include "runtime/grammar/code_points.h"

#include <algorithm>
#include <string_view>

namespace onecopy::grammar {
namespace {

constexpr uint32_t kLast = 0x10FFFF, kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

// Appends the sequences of [lo, hi], which have the same number of bytes and hold no surrogates.
void SplitSequence(uint32_t lo, uint32_t hi, uint32_t bytes, std::vector<Utf8Sequence>* out) {
  // Below the byte where both ends differ, a sequence must span all of 80 to BF: cut off the parts that do not.
  for (uint32_t tail = 1; tail < bytes; ++tail) {
    const uint32_t mask = (1u << (6 * tail)) - 1;
    if ((lo & ~mask) == (hi & ~mask)) continue;
    if ((lo & mask) != 0) {
      SplitSequence(lo, lo | mask, bytes, out);
      return SplitSequence((lo | mask) + 1, hi, bytes, out);
    }
    if ((hi & mask) != mask) {
      SplitSequence(lo, (hi & ~mask) - 1, bytes, out);
      return SplitSequence(hi & ~mask, hi, bytes, out);
    }
  }
  std::string first, last;
  AppendUtf8(lo, &first);
  AppendUtf8(hi, &last);
  Utf8Sequence sequence{bytes};
  for (uint32_t i = 0; i < bytes; ++i) {
    sequence.lo[i] = static_cast<uint8_t>(first[i]);
    sequence.hi[i] = static_cast<uint8_t>(last[i]);
  }
  out->push_back(sequence);
}

}  // namespace

CodePoints CodePoints::Of(std::string_view ascii) {
  CodePoints points;
  for (const char c : ascii) points.Add(static_cast<uint8_t>(c), static_cast<uint8_t>(c));
  return points;
}

void CodePoints::Add(uint32_t lo, uint32_t hi) {
  hi = std::min(hi, kLast);
  if (lo >= kFirstSurrogate && lo <= kLastSurrogate) lo = kLastSurrogate + 1;
  if (hi >= kFirstSurrogate && hi <= kLastSurrogate) hi = kFirstSurrogate - 1;
  if (lo > hi) return;
  if (lo < kFirstSurrogate && hi > kLastSurrogate) {
    Add(lo, kFirstSurrogate - 1);
    return Add(kLastSurrogate + 1, hi);
  }
  // The first range that touches or follows [lo, hi]; all that touch it become one.
  auto begin = std::lower_bound(ranges_.begin(), ranges_.end(), lo,
                                [](const Range& range, uint32_t value) { return range.hi + 1 < value; });
  auto end = begin;
  for (; end != ranges_.end() && end->lo <= hi + 1; ++end) {
    lo = std::min(lo, end->lo);
    hi = std::max(hi, end->hi);
  }
  begin = ranges_.erase(begin, end);
  ranges_.insert(begin, {lo, hi});
}

void CodePoints::Add(const CodePoints& other) {
  for (const Range& range : other.ranges_) Add(range.lo, range.hi);
}

CodePoints CodePoints::Complement() const {
  CodePoints out;
  uint32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.lo > next) out.Add(next, range.lo - 1);
    next = range.hi + 1;
  }
  if (next <= kLast) out.Add(next, kLast);
  return out;
}

CodePoints CodePoints::And(const CodePoints& other) const {
  CodePoints out;
  auto a = ranges_.begin();
  auto b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    const uint32_t lo = std::max(a->lo, b->lo), hi = std::min(a->hi, b->hi);
    if (lo <= hi) out.ranges_.push_back({lo, hi});
    a->hi < b->hi ? ++a : ++b;
  }
  return out;
}

bool CodePoints::Contains(uint32_t code) const {
  const auto at = std::lower_bound(ranges_.begin(), ranges_.end(), code,
                                   [](const Range& range, uint32_t value) { return range.hi < value; });
  return at != ranges_.end() && at->lo <= code;
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
    return;
  }
  const uint32_t bytes = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  constexpr uint8_t kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  out->push_back(static_cast<char>(kLead[bytes] | (code >> (6 * (bytes - 1)))));
  for (uint32_t tail = bytes - 1; tail-- > 0;)
    out->push_back(static_cast<char>(0x80 | ((code >> (6 * tail)) & 0x3F)));
}

std::vector<Utf8Sequence> Utf8Sequences(const CodePoints& points) {
  static constexpr uint32_t kLimits[] = {0x7F, 0x7FF, 0xFFFF, kLast};
  std::vector<Utf8Sequence> out;
  for (CodePoints::Range range : points.ranges()) {
    for (uint32_t bytes = 1; bytes <= 4 && range.lo <= range.hi; ++bytes) {
      if (range.lo > kLimits[bytes - 1]) continue;
      const uint32_t hi = std::min(range.hi, kLimits[bytes - 1]);
      SplitSequence(range.lo, hi, bytes, &out);
      range.lo = hi + 1;
    }
  }
  return out;
}

}  // namespace onecopy::grammar
