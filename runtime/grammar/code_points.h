// CodePoints: a set of Unicode scalar values as sorted, disjoint, non-adjacent ranges. A value; safe to read from
// several threads. Surrogates (U+D800 to U+DFFF) are never in a set, as UTF-8 has none (RFC 3629).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace onecopy::grammar {

class CodePoints {
 public:
  struct Range {
    uint32_t lo, hi;  // both in the set
    bool operator==(const Range&) const = default;
  };

  CodePoints() = default;
  CodePoints(uint32_t lo, uint32_t hi) { Add(lo, hi); }
  static CodePoints Of(std::string_view ascii);  // each of these characters
  static CodePoints All() { return {0, 0x10FFFF}; }

  void Add(uint32_t lo, uint32_t hi);  // clipped to what may be in a set; lo > hi adds nothing
  void Add(const CodePoints& other);
  CodePoints Complement() const;
  CodePoints And(const CodePoints& other) const;
  CodePoints Without(const CodePoints& other) const { return And(other.Complement()); }

  bool Contains(uint32_t code) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
};

void AppendUtf8(uint32_t code, std::string* out);

// One way of writing characters in UTF-8: byte i is in [lo[i], hi[i]].
struct Utf8Sequence {
  uint32_t bytes = 0;  // 1 to 4
  uint8_t lo[4] = {}, hi[4] = {};
};
// The sequences that together write exactly this set. Source: The Unicode Standard 15, table 3-7.
std::vector<Utf8Sequence> Utf8Sequences(const CodePoints& points);

}  // namespace onecopy::grammar
