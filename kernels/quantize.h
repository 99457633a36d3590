// Quantisers: float rows to a type's blocks as a file has them. Slow beside the decoders, since the K types and IQ4_NL are
// searched for; used offline. Re-entrant, allocate nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace onecopy::kernels {

// x: [n_cols] finite, n_cols a multiple of the type's block_cols -> blocks: RowBytes(Info(type), n_cols) bytes.
using QuantizeFn = void (*)(const float* x, uint8_t* blocks, size_t n_cols);

// nullptr for a type that is only read. F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and MXFP4 round as ggml does, bit for
// bit (ggml-quants.c, quantize_row_*_ref); the others minimise a weighted squared error by a search of their own.
QuantizeFn FindQuantizer(WeightType type);

}  // namespace onecopy::kernels
