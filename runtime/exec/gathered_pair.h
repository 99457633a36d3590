// GatheredPair: where the rows of two matrices of one input, cut by output rows, lie after a gather: rank r's columns of
// the first, then its columns of the second, then what else it has to say, for all ranks in order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace onecopy::exec {

struct GatheredPair {
  std::vector<uint32_t> first,
      second;                    // bounds of each matrix's rows by rank; all 0 for a matrix that is not there
  std::vector<uint32_t> extra;   // bounds of further values by rank; empty: none
  std::vector<uint32_t> bounds;  // of the gathered columns by rank

  GatheredPair() = default;
  GatheredPair(std::vector<uint32_t> a, std::vector<uint32_t> b, std::vector<uint32_t> c = {})
      : first(std::move(a)), second(std::move(b)), extra(std::move(c)) {
    for (size_t r = 0; r < first.size(); ++r)
      bounds.push_back(first[r] + second[r] + (extra.empty() ? 0 : extra[r]));
  }

  uint32_t cols() const { return bounds.back(); }
  // Columns of rank r's part of the first and of the second matrix.
  uint32_t FirstOf(size_t r) const { return bounds[r]; }
  uint32_t SecondOf(size_t r) const { return bounds[r] + first[r + 1] - first[r]; }
  uint32_t ExtraOf(size_t r) const { return SecondOf(r) + second[r + 1] - second[r]; }

  // Copies values [begin, end) of the first (or second) matrix's product, or of the others, out of one gathered row.
  void CopyFirst(const float* row, uint32_t begin, uint32_t end, float* to) const {
    Copy(first, row, begin, end, to, [&](size_t r) { return FirstOf(r); });
  }
  void CopySecond(const float* row, uint32_t begin, uint32_t end, float* to) const {
    Copy(second, row, begin, end, to, [&](size_t r) { return SecondOf(r); });
  }
  void CopyExtra(const float* row, uint32_t begin, uint32_t end, float* to) const {
    Copy(extra, row, begin, end, to, [&](size_t r) { return ExtraOf(r); });
  }

 private:
  template <typename ColumnOf>
  static void Copy(const std::vector<uint32_t>& from, const float* row, uint32_t begin, uint32_t end,
                   float* to, const ColumnOf& column_of) {
    size_t r = std::upper_bound(from.begin(), from.end(), begin) - from.begin() - 1;
    while (begin < end) {
      const uint32_t n = std::min(end, from[r + 1]) - begin;
      std::copy_n(row + column_of(r) + begin - from[r], n, to);
      to += n;
      begin += n;
      ++r;
    }
  }
};

}  // namespace onecopy::exec
