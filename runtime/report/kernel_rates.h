// Speed of the kernel table's functions on data in the caches, measured on all threads at once. See machine.h.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace onecopy::report {

// Multiply-adds a second of one thread in the product of `tokens` vectors. sum: matmul_sum in place of matmul. Takes
// about 10 ms. 0 where the table cannot compute with the type.
double MeasureMatmulRate(const kernels::KernelTable& table, kernels::WeightType type, bool sum,
                         uint32_t tokens, int threads);

// Seconds of one thread for an element of a vector. add: to a double. attend: for one position of one query head, per
// dimension of the head.
struct VectorSeconds {
  double norm = 0, quantize = 0, silu = 0, softmax = 0, add = 0, attend = 0;
};
// heads_per_kv: query heads that share a KV head, as in the model. Takes about 30 ms.
VectorSeconds MeasureVectorSeconds(const kernels::KernelTable& table, uint32_t heads_per_kv,
                                   uint32_t head_dim);

}  // namespace onecopy::report
