#include "runtime/report/matmul_operands.h"

namespace onecopy::report {

MatmulOperands::MatmulOperands(const kernels::KernelTable& table, kernels::WeightType type, uint32_t rows,
                               uint32_t cols, uint32_t tokens)
    : kernel_(table.ForPrompt(type, tokens)), y_(size_t{tokens} * rows), y_sum_(size_t{tokens} * rows) {
  shape_.type = type;
  shape_.row_tile = table.weights[static_cast<size_t>(type)].row_tile;
  shape_.rows = rows;
  shape_.cols = cols;
  const size_t row_bytes = kernels::ActRowBytes(kernel_.act, cols);
  acts_.resize(tokens * row_bytes + 64);
  const std::vector<float> x(cols, 0.5f);
  for (uint32_t t = 0; t < tokens; ++t) {
    uint8_t* row = Align64(acts_.data()) + t * row_bytes;
    kernels::MakeActRow(table, kernel_.act, x.data(), cols, row);
    x_rows_.push_back(row);
    y_rows_.push_back(y_.data() + size_t{t} * rows);
    y_sum_rows_.push_back(y_sum_.data() + size_t{t} * rows);
  }
}

void MatmulOperands::Run(const uint8_t* data, bool sum) {
  kernels::PackedMatrix w = shape_;
  w.data = data;
  if (sum)
    kernel_.matmul_sum(w, x_rows_.data(), y_sum_rows_.data(), x_rows_.size(), 0, w.rows);
  else
    kernel_.matmul(w, x_rows_.data(), y_rows_.data(), x_rows_.size(), 0, w.rows);
}

}  // namespace onecopy::report
