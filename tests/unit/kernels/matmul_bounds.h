// How far a product may be from its float64 sum. Tolerances are derived from the operands: float rounding alone against
// the activations as the kernel sees them, plus half a quantisation step per column against those that the caller gave.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/types.h"
#include "tests/unit/kernels/random_matrix.h"

namespace onecopy::kernels {

inline constexpr double kUlp = 1.0 / (1 << 24);       // relative error of one rounding
inline constexpr double kBf16Ulp = 1.002 / (1 << 8);  // of one to bf16, and of float operations before it

// Activations of several tokens in a kernel's format.
class Activations {
 public:
  Activations(const KernelTable& table, ActFormat format, const std::vector<std::vector<float>>& tokens)
      : format_(format), cols_(tokens[0].size()) {
    for (const std::vector<float>& token : tokens) {
      AlignedBytes& row = rows_.emplace_back(Bytes());
      MakeActRow(table, format, token.data(), cols_, row.get());
      pointers_.push_back(row.get());
    }
  }
  // Exactly what the kernel may read of a row.
  size_t Bytes() const {
    switch (format_) {
      case ActFormat::kQ8:
        return Q8RowBytes(cols_);
      case ActFormat::kBF16:
        return (cols_ + 31) / 32 * 64;
      default:
        return cols_ * sizeof(float);
    }
  }
  const void* const* pointers() const { return pointers_.data(); }
  // The most by which rounding moved an element of the row that is `value` now.
  double Step(size_t token, size_t col, float value) const {
    switch (format_) {
      case ActFormat::kQ8:
        return 0.5001 * reinterpret_cast<const float*>(rows_[token].get() + (cols_ + 31) / 32 * 32)[col / 32];
      case ActFormat::kBF16:
        return kBf16Ulp * std::fabs(value);
      default:
        return 0;
    }
  }
  // What the kernel in effect multiplies with.
  std::vector<float> Dequantised(size_t token) const {
    std::vector<float> out(cols_);
    const uint8_t* row = rows_[token].get();
    if (format_ == ActFormat::kF32) std::memcpy(out.data(), row, cols_ * sizeof(float));
    if (format_ == ActFormat::kBF16) Info(WeightType::kBF16).decode(row, out.data(), cols_);
    const auto* d = reinterpret_cast<const float*>(row + (cols_ + 31) / 32 * 32);
    for (size_t c = 0; format_ == ActFormat::kQ8 && c < cols_; ++c)
      out[c] = static_cast<float>(static_cast<int8_t>(row[c])) * d[c / 32];
    return out;
  }

 private:
  ActFormat format_;
  size_t cols_;
  std::vector<AlignedBytes> rows_;
  std::vector<const void*> pointers_;
};

// What one result may differ by, and from what.
struct Bound {
  double seen = 0;      // sum of w * x in float64, x as the kernel sees it
  double given = 0;     // with x as the caller gave it
  double norm = 0;      // sum of |w * x|, at least: what rounding errors scale with
  double rounding = 0;  // from the float operations, and weights that are rounded
  double step = 0;      // from the quantisation of x: at most half a step per column
};

inline Bound ExactProduct(const std::vector<float>& w, const std::vector<float>& seen,
                          const std::vector<float>& given, const Activations& x, size_t token,
                          const MatmulKernel& kernel, WeightType type) {
  Bound bound;
  // Types with an offset (Q8_0: where weights must be unsigned): integer kernels take it off a sum that the weight
  // itself no longer shows. It is about as large as the greatest weight of the unit, so that is what the rounding
  // errors scale with.
  const bool offset = Info(type).block_cols > 1;
  for (size_t unit = 0; unit * 32 < seen.size(); ++unit) {
    double largest = 0, sum_x = 0, sum_wx = 0;
    for (size_t c = 32 * unit; c < std::min(seen.size(), 32 * unit + 32); ++c) {
      const double weight = w[c];
      bound.seen += weight * seen[c];
      bound.given += weight * given[c];
      largest = std::max(largest, std::fabs(weight));
      sum_x += std::fabs(seen[c]);
      bound.step += std::fabs(weight) * x.Step(token, c, seen[c]);
      sum_wx += std::fabs(weight * seen[c]);
    }
    bound.norm += offset ? largest * sum_x : sum_wx;
    if (kernel.act == ActFormat::kBF16) bound.rounding += kBf16Ulp * sum_wx;  // of the weights
  }
  // Float additions that follow each other: one per vector of 8 columns, or two per unit of 32 after integer
  // sums, or (tdpbf16ps) one per column; and a few roundings of scales and totals.
  const size_t chain = kernel.act == ActFormat::kF32  ? seen.size() / 8
                       : kernel.act == ActFormat::kQ8 ? seen.size() / 16
                                                      : seen.size();
  bound.rounding += static_cast<double>(chain + 8) * kUlp * bound.norm;
  return bound;
}

}  // namespace onecopy::kernels
