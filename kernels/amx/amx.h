// The `amx` table (AVX-512 with VNNI and BF16, AMX-BF16) and its entries. Valid to call only where HasAmx() holds.
// Re-entrant. The rules of avx2/README.md hold here too.
#pragma once

#include "kernels/kernels.h"

namespace onecopy::kernels::amx {

const KernelTable& Table();

// Rows in tiles of sixteen, packed as for avx512; activations in kBF16.
extern const MatmulKernel matmul_q8_0;
extern const MatmulKernel matmul_q4_0;
extern const MatmulKernel matmul_q5_0;
extern const MatmulKernel matmul_q4_k;
extern const MatmulKernel matmul_q5_k;
extern const MatmulKernel matmul_q6_k;
extern const MatmulKernel matmul_mxfp4;

void round_bf16(const float* x, size_t cols, void* out);

void attend_block_f16(const AttendBlock& block);
void attend_block_q8_0(const AttendBlock& block);
size_t attend_block_bytes(const AttendBlock& block);
extern const TransposedKernel transposed;

}  // namespace onecopy::kernels::amx
