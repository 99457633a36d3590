// Operands of a matrix product for measuring it: weights of zero, which are valid in every type and cost as much as
// any, and vectors of one value. Internal to report/.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace onecopy::report {

class MatmulOperands {
 public:
  MatmulOperands(const kernels::KernelTable& table, kernels::WeightType type, uint32_t rows, uint32_t cols,
                 uint32_t tokens);

  const kernels::PackedMatrix& shape() const { return shape_; }  // without data
  // One product, of weights at `data` (PackedBytes of shape(), 64-byte aligned).
  void Run(const uint8_t* data, bool sum);

 private:
  const kernels::MatmulKernel& kernel_;
  kernels::PackedMatrix shape_;
  std::vector<uint8_t> acts_;
  std::vector<float> y_;
  std::vector<double> y_sum_;
  std::vector<const void*> x_rows_;
  std::vector<float*> y_rows_;
  std::vector<double*> y_sum_rows_;
};

inline uint8_t* Align64(uint8_t* p) {
  return p + (64 - reinterpret_cast<uintptr_t>(p) % 64) % 64;
}

}  // namespace onecopy::report
