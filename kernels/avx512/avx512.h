// The `avx512` table (AVX-512 F, BW, DQ, VL and VNNI) and its entries. Valid to call only where HasAvx512() holds.
// Re-entrant. The rules of avx2/README.md hold here too.
#pragma once

#include "kernels/kernels.h"

namespace onecopy::kernels::avx512 {

const KernelTable& Table();

// Rows in tiles of sixteen, one per dword lane; activations in kQ8.
extern const MatmulKernel matmul_q8_0;
extern const MatmulKernel matmul_q4_0;
extern const MatmulKernel matmul_q4_1;
extern const MatmulKernel matmul_q5_0;
extern const MatmulKernel matmul_q5_1;
extern const MatmulKernel matmul_q2_k;
extern const MatmulKernel matmul_q3_k;
extern const MatmulKernel matmul_q4_k;
extern const MatmulKernel matmul_q5_k;
extern const MatmulKernel matmul_q6_k;
extern const MatmulKernel matmul_iq4_nl;
extern const MatmulKernel matmul_iq4_xs;
extern const MatmulKernel matmul_mxfp4;
extern const MatmulKernel matmul_nvfp4;
extern const MatmulKernel matmul_int8_bf16;
extern const MatmulKernel matmul_int4_bf16;
extern const MatmulKernel matmul_int4_32;
extern const MatmulKernel matmul_int4_64;
extern const MatmulKernel matmul_int4_128;

void silu_mul(const float* gate, const float* up, size_t n, float* out);
void accumulate(const double* x, size_t n, double* y);
void add_sums(const double* sums, size_t n, float* x);
void attend_f16(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                SoftmaxState* state, float* acc, float* scratch);
void attend_block_f16(const AttendBlock& block);
void attend_q8_0(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                 const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                 SoftmaxState* state, float* acc, float* scratch);
void attend_block_q8_0(const AttendBlock& block);
size_t attend_block_bytes(const AttendBlock& block);
extern const TransposedKernel transposed;

}  // namespace onecopy::kernels::avx512
